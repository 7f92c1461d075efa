"""The worker process with every real engine on scripted models: answers, cancels, crashes, deaths."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import (
    TEMPLATE,
    Shape,
    make_gguf,
    make_litert,
    make_mlx,
    make_onnx,
    make_openvino,
    make_random_gguf,
)

from localfirst.conversation import Answer, Message, Sampling, TextDelta, Usage
from localfirst.errors import LfError, ModelFileError, TemplateError, UsageError, WorkerCrashError
from localfirst.worker import holder, protocol
from localfirst.worker.client import Worker

BACKENDS = {
    "xllamacpp": make_gguf,
    "onnx": make_onnx,
    "mlx": make_mlx,
    "openvino": make_openvino,
    "litert": make_litert,
}
REPLY = "Hello there, I am a very small model — 漢字 and all."
GREEDY = Sampling(temperature=0)
HI = (Message("user", "hi"),)


def make_load(backend: str, folder: Path, **options) -> protocol.Load:
    path = folder / {"xllamacpp": "model.gguf", "litert": "model.litertlm"}.get(backend, "model")
    BACKENDS[backend](path, **options)
    return protocol.Load(backend, str(path), None, 1, "cpu")


def read_all(reply: holder.Reply) -> tuple[list[TextDelta], Answer]:
    *pieces, answer = reply
    assert isinstance(answer, Answer)
    return pieces, answer


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    need_engine(request.param)
    return request.param


def test_a_worker_answers_exactly_the_scripted_text_and_counts_every_token(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=REPLY)
    with Worker(sys.executable) as worker:
        info = worker.load(load)
        pieces, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
    assert info.backend == backend
    assert info.template == TEMPLATE
    assert "".join(piece.text for piece in pieces) == answer.text == REPLY
    # <|user|> h i <|end|> <|assistant|>
    assert (answer.usage.prompt_tokens, answer.finish_reason) == (5, "stop")


def count(worker: Worker, said: tuple[Message, ...]) -> int:
    return holder.Reply(worker, protocol.Count(protocol.Chat(said, GREEDY))).wait_for(protocol.Counted).prompt_tokens


def test_a_prompt_is_counted_as_an_answer_counts_it_and_a_stop_string_is_told(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=REPLY)
    said = (Message("system", "Be brief."), *HI, Message("assistant", "yes"), *HI)
    with Worker(sys.executable) as worker:
        worker.load(load)
        counted = count(worker, said)
        _, answer = read_all(worker.answer(protocol.Chat(said, GREEDY, stop=("absent", "very"))))
        assert count(worker, said) == counted
    assert counted == answer.usage.prompt_tokens
    assert (answer.text, answer.stopped_by) == ("Hello there, I am a ", "very")


def test_a_prompt_that_cannot_be_counted_is_an_error_and_the_worker_goes_on(tmp_path: Path) -> None:
    load = make_load("xllamacpp", tmp_path, text=REPLY, template="{{ raise_exception('no') }}")
    with Worker(sys.executable) as worker:
        worker.load(load)
        with pytest.raises(TemplateError):
            count(worker, HI)
        assert worker.tokenize("abc")


def test_thinking_is_told_apart_from_the_answer(backend: str, tmp_path: Path) -> None:
    template = TEMPLATE + "{# <think> </think> #}"
    load = make_load(backend, tmp_path, text="<think>two plus two</think>It is four.", template=template)
    with Worker(sys.executable) as worker:
        worker.load(load)
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
    assert (answer.reasoning, answer.text) == ("two plus two", "It is four.")


def test_a_model_without_a_template_gets_chatml_and_its_stop_strings(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text="Fine, thanks.<|im_end|> never shown", template=None)
    with Worker(sys.executable) as worker:
        assert worker.load(load).template is None
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY)))
    assert (answer.text, answer.finish_reason) == ("Fine, thanks.", "stop")


def test_a_text_is_continued_without_a_template(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=REPLY)
    with Worker(sys.executable) as worker:
        worker.load(load)
        _, answer = read_all(worker.answer(protocol.Complete("abc", GREEDY)))
    assert (answer.text, answer.usage.prompt_tokens) == (REPLY, 3)


def test_token_ids_are_told_and_read_and_an_answer_goes_on_past_its_end(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=REPLY)
    with Worker(sys.executable) as worker:
        endless = worker.load(load).ignores_end
        ids = worker.tokenize("abcdefgh")[:5]
        _, answer = read_all(worker.answer(protocol.Complete(ids, GREEDY, max_tokens=30, ignore_end=endless)))
    assert answer.usage.prompt_tokens == 5
    assert (answer.finish_reason, answer.usage.completion_tokens == 30) == ("length" if endless else "stop", endless)


@pytest.mark.skipif(sys.platform == "win32", reason="loops read no pipes there")
def test_a_loop_reads_what_a_worker_says_once_it_is_told_to(tmp_path: Path) -> None:
    """A thread until then; whoever waits is told by the loop of the worker's end, too."""
    load = make_load("xllamacpp", tmp_path, text=REPLY)

    async def main() -> tuple[list[str], WorkerCrashError]:
        def ask() -> str:
            return read_all(worker.answer(protocol.Chat(HI, GREEDY)))[1].text

        loop = asyncio.get_running_loop()
        with Worker(sys.executable) as worker:
            worker.load(load)
            worker.read_in(loop)
            said = [await loop.run_in_executor(None, ask) for _ in range(3)]
            assert not worker._reader.is_alive()
            os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(WorkerCrashError) as raised:
                await loop.run_in_executor(None, ask)
            return said, raised.value

    said, error = asyncio.run(main())
    assert said == [REPLY] * 3
    assert "SIGKILL" in f"{error.message} {error.detail}"


def test_cancel_ends_an_endless_answer_and_the_worker_goes_on(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text="round and round ", loop=True, shape=Shape(context=16384))
    with Worker(sys.executable) as worker:
        worker.load(load)
        reply = worker.answer(protocol.Chat(HI, GREEDY, max_tokens=16000))
        seen = []
        for piece in reply:
            seen.append(piece)
            if len(seen) == 3:
                reply.cancel()
        assert isinstance(seen[-1], Answer)
        assert seen[-1].finish_reason == "cancelled"
        assert seen[-1].usage.completion_tokens < 16000
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, max_tokens=2)))
    assert (answer.usage.completion_tokens, answer.finish_reason) == (2, "length")


def test_one_after_the_other_may_leave_while_its_prompt_is_read(tmp_path: Path) -> None:
    """None waits for what the engine still computes of the one before, and nobody's worker is ended for it."""
    need_engine("xllamacpp")
    shape = Shape(hidden=512, layers=8, heads=8, feed_forward=2048, context=16384)
    make_random_gguf(tmp_path / "slow.gguf", shape)
    long = (Message("user", "a b c d " * 1500),)
    with Worker(sys.executable) as worker:
        worker.load(protocol.Load("xllamacpp", str(tmp_path / "slow.gguf"), 16384, 2, "cpu"))
        for _ in range(4):
            reply = worker.answer(protocol.Chat(long, GREEDY, max_tokens=1))
            threading.Timer(0.2, reply.cancel).start()
            _, answer = read_all(reply)
            assert (answer.finish_reason, answer.usage.completion_tokens) == ("cancelled", 0)
        assert worker.alive


def test_leaving_the_loop_early_stops_the_answer(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text="round and round ", loop=True, shape=Shape(context=16384))
    with Worker(sys.executable) as worker:
        worker.load(load)
        for _ in worker.answer(protocol.Chat(HI, GREEDY)):
            break
        _, answer = read_all(worker.answer(protocol.Chat(HI, GREEDY, max_tokens=1)))
    assert answer.usage.completion_tokens == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_death_in_the_middle_of_an_answer_is_an_error_that_names_the_signal(
    backend: str, number: signal.Signals, tmp_path: Path
) -> None:
    load = make_load(backend, tmp_path, text="round and round ", loop=True, shape=Shape(context=16384))
    with Worker(sys.executable) as worker:
        worker.load(load)
        pieces = iter(worker.answer(protocol.Chat(HI, GREEDY)))
        next(pieces)
        os.kill(worker.pid, number)
        with pytest.raises(WorkerCrashError) as raised:
            list(pieces)
        with pytest.raises(WorkerCrashError):
            list(worker.answer(protocol.Chat(HI, GREEDY)))
    assert raised.value.message == f"The worker died of {number.name}"


def test_a_template_that_never_ends_is_stopped(tmp_path: Path) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    load = make_load("onnx", tmp_path, text=REPLY, template=endless)
    with Worker(sys.executable) as worker:
        worker.load(load)
        with pytest.raises(TemplateError, match="did not end"):
            list(worker.answer(protocol.Chat(HI, GREEDY)))


def test_a_template_that_raises_says_so_in_its_own_words(tmp_path: Path) -> None:
    load = make_load("onnx", tmp_path, text=REPLY, template="{{ raise_exception('roles must alternate') }}")
    with Worker(sys.executable) as worker:
        worker.load(load)
        with pytest.raises(TemplateError) as raised:
            list(worker.answer(protocol.Chat(HI, GREEDY)))
    assert raised.value.detail == "roles must alternate"


def test_an_error_of_the_backend_arrives_as_it_was_raised(backend: str, tmp_path: Path) -> None:
    with Worker(sys.executable) as worker, pytest.raises(ModelFileError) as raised:
        worker.load(protocol.Load(backend, str(tmp_path / "nothing.gguf"), None, 1, "cpu"))
    missing = {
        "xllamacpp": "nothing.gguf",
        "onnx": "genai_config.json",
        "mlx": "config.json",
        "openvino": "openvino_model.xml",
        "litert": "nothing.gguf",
    }
    assert missing[backend] in raised.value.message


def test_a_worker_holds_one_model(tmp_path: Path) -> None:
    load = make_load("xllamacpp", tmp_path, text=REPLY)
    with Worker(sys.executable) as worker:
        with pytest.raises(UsageError, match="no model yet"):
            list(worker.answer(protocol.Chat(HI, GREEDY)))
        worker.load(load)
        with pytest.raises(UsageError, match="already"):
            worker.load(load)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@pytest.mark.parametrize("script", ["echo garbage; exec sleep 60", "while :; do echo garbage; done"])
def test_a_program_that_speaks_otherwise_is_a_clear_error(tmp_path: Path, script: str) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with Worker(str(program)) as worker, pytest.raises(WorkerCrashError, match="does not speak as one"):
        worker.look("onnx")


def test_an_interpreter_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WorkerCrashError, match="could not be started"):
        Worker(str(tmp_path / "python"))
    broken = tmp_path / "not-python"
    broken.write_text("#!/bin/sh\necho no engine here >&2\nexit 3\n")
    broken.chmod(0o755)
    with Worker(str(broken)) as worker, pytest.raises(LfError) as raised:
        worker.load(protocol.Load("onnx", str(tmp_path), None, 1, "cpu"))
    assert raised.value.message == "The worker ended with exit code 3"
    assert raised.value.detail == "no engine here"


PARENT = """
import sys
from localfirst.conversation import Message, Sampling
from localfirst.worker import protocol
from localfirst.worker.client import Worker
worker = Worker(sys.executable)
worker.load(protocol.Load(sys.argv[1], sys.argv[2], None, 1, "cpu"))
for _ in worker.answer(protocol.Chat((Message("user", "hi"),), Sampling(temperature=0), max_tokens=10**9)):
    print(worker.pid, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_no_worker_outlives_a_parent_that_was_killed(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text="round and round ", loop=True, shape=Shape(context=16384))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, backend, load.main], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie that nobody has reaped is dead
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    load = make_load("onnx", tmp_path, text=REPLY)
    with Worker(sys.executable) as worker:
        worker.load(load)
        assert [path.name.startswith("lf-worker-") for path in scratch.iterdir()] == [True]
    assert list(scratch.iterdir()) == []


def test_the_second_turn_finds_the_first_in_the_cache(backend: str, tmp_path: Path) -> None:
    load = make_load(backend, tmp_path, text=REPLY)
    with Worker(sys.executable) as worker:
        worker.load(load)
        question = Message("user", "h" * 61)  # 64 tokens with the template's: engines keep whole blocks of up to 32
        _, first = read_all(worker.answer(protocol.Chat((question,), GREEDY)))
        turns = (question, Message("assistant", first.text), Message("user", "again"))
        _, second = read_all(worker.answer(protocol.Chat(turns, GREEDY)))
    assert second.text == REPLY
    assert second.usage.cached_tokens >= first.usage.prompt_tokens
    assert first.usage == Usage(first.usage.prompt_tokens, first.usage.completion_tokens, 0)
