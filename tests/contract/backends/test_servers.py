"""Server programs and servers elsewhere: how they start, answer, fail and end. Real ones, on tiny real models."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from tests.contract.backends.engines import GREEDY, ask, never
from tests.fixtures import scripted, servers
from tests.fixtures.proxy import Proxy
from tests.fixtures.scripted import Shape, embedding, network, render

from localfirst.backends.base import Finished, GenerateRequest, LoadOptions, ModelFiles, Piece, Started
from localfirst.backends.external import embeddings, http
from localfirst.backends.external.adapter import find_obstacle, wrap_program
from localfirst.backends.external.http import parse_address
from localfirst.backends.registry import make_backend
from localfirst.conversation import Message, Sampling
from localfirst.errors import (
    ContextError,
    DeviceError,
    EngineError,
    LfError,
    ModelFileError,
    NetworkError,
    RuntimeMissingError,
    UnknownNameError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.backends.external.remote import RemoteModel
    from localfirst.backends.external.served import ServedModel

TEXT = "Hello there! The tiny model answers Grüße 😀 and stops."
TOKENS = len(scripted.split_reply(TEXT)) + 1
ANYWHERE = "0.0.0.0"  # noqa: S104 - only read
LOOP = (b"on ", b"and ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("external")


@pytest.fixture(scope="module")
def program(folder: Path) -> str:
    return servers.make_program(folder / "llama-server", "llama_server.py")


@pytest.fixture(scope="module")
def gguf(folder: Path) -> Path:
    scripted.make_gguf(folder / "model.gguf", TEXT)
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def slow(folder: Path) -> Path:
    """A model whose answer never ends."""
    shape = Shape(hidden=512, layers=6, heads=8, kv_heads=8, feed_forward=2048, context=16384)
    scripted.make_gguf(folder / "slow.gguf", reply_tokens=LOOP, loop=True, shape=shape)
    return folder / "slow.gguf"


def load(name: str, main: Path, program: str | None, **options: object) -> ServedModel:
    return make_backend(name, program).load(ModelFiles(str(main)), LoadOptions(None, 2, **options))


@pytest.fixture(scope="module")
def hub_folder(folder: Path) -> Path:
    """What a hub has of a model for vLLM; the weights are llama.cpp's, for the server that stands in."""
    path = folder / "hf"
    size = scripted.make_gguf(path / "model.gguf", TEXT).size
    config = {"max_position_embeddings": 1024, "model_type": "llama", "vocab_size": size}
    (path / "config.json").write_text(json.dumps(config))
    told = {"chat_template": scripted.TEMPLATE, "bos_token": {"content": "<|endoftext|>"}, "eos_token": "<|end|>"}
    (path / "tokenizer_config.json").write_text(json.dumps(told))
    return path


@pytest.mark.parametrize("name", ["vllm", "sglang", "tensorrt-llm"])
def test_a_folder_is_served_and_its_tokens_are_counted(name: str, hub_folder: Path, folder: Path) -> None:
    program = servers.make_program(folder / "folder-server", "folder_server.py")
    told: list[str] = []
    loaded = load(
        name, hub_folder, program, placement="gpu", report=lambda text, lasting: told.append(text) if lasting else None
    )
    try:
        info = loaded.info
        reply = ask(loaded, render("hi"))
        stopped = ask(loaded, render("hi"), stop=("there! The",))
        short = ask(loaded, render("hi"), max_tokens=3)
        with pytest.raises(ContextError) as caught:
            ask(loaded, render("a" * 2000))
    finally:
        loaded.close()
    assert (info.backend, info.context_tokens, info.template) == (name, 1024, scripted.TEMPLATE)
    assert (info.bos_token, info.eos_token) == ("<|endoftext|>", "<|end|>")
    assert (reply.text, reply.end.finish_reason, reply.prompt_tokens) == (TEXT, "stop", 5)
    assert (reply.end.usage.prompt_tokens, reply.end.usage.completion_tokens) == (5, TOKENS)
    assert (stopped.text, stopped.end.finish_reason, stopped.end.stopped_by) == ("Hello ", "stop", "there! The")
    assert (short.end.usage.completion_tokens, short.end.finish_reason) == (3, "length")
    assert caught.value.message == "The prompt has 2003 tokens; the context is 1024"
    assert info.engine_version == "0.33.0"
    assert ["other users of this machine" in text for text in told] == ([] if name == "sglang" else [True])


@pytest.mark.parametrize(("name", "pooling"), [("vllm", "mean"), ("vllm", "last"), ("sglang", "last")])
def test_a_folder_is_served_to_embed(name: str, pooling: str, hub_folder: Path, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "hf"
    shutil.copytree(hub_folder, path)
    shape = Shape(layers=2, context=512)
    scripted.make_random_gguf(path / "model.gguf", shape)
    program = servers.make_program(folder / "folder-server", "folder_server.py")
    loaded = load(name, path, program, placement="gpu", pooling=pooling)
    try:
        (found,) = loaded.embed(["a text"], never)
        with pytest.raises(UsageError, match="answers nothing"):
            ask(loaded, render("hi"))
    finally:
        loaded.close()
    vocabulary = scripted.Vocabulary(minimum_size=512)
    weights = network.random_weights(shape, vocabulary.size, seed=0)
    expected = embedding.embed(weights, shape, vocabulary.tokenize("a text"), pooling)
    assert np.abs(np.array(found.vector) - expected).max() < 1e-3


@pytest.mark.parametrize(("name", "pooling"), [("sglang", "mean"), ("tensorrt-llm", "last")])
def test_a_pooling_that_a_server_has_no_option_for_is_refused(name: str, pooling: str, hub_folder: Path) -> None:
    with pytest.raises(UsageError, match=f"has no `--pooling {pooling}`") as caught:
        load(name, hub_folder, "/nowhere", placement="gpu", pooling=pooling)
    assert "vLLM" in (caught.value.hint or "")


def test_a_server_that_has_no_embeddings_says_so(hub_folder: Path, folder: Path) -> None:
    program = servers.make_program(folder / "folder-server", "folder_server.py")
    loaded = load("tensorrt-llm", hub_folder, program, placement="gpu")
    try:
        with pytest.raises(EngineError, match="TensorRT-LLM computes no embeddings here"):
            loaded.embed(["a text"], never)
    finally:
        loaded.close()


def test_a_server_that_tells_no_usage_is_told_of(hub_folder: Path, folder: Path) -> None:
    program = servers.make_program(folder / "folder-server", "folder_server.py")
    loaded = load("tensorrt-llm", hub_folder, program, placement="gpu")
    try:
        with pytest.raises(EngineError, match="TensorRT-LLM does not tell how many tokens a prompt has"):
            ask(loaded, render("uncounted"))
    finally:
        loaded.close()


def test_what_a_server_does_not_know_is_refused_by_its_name(hub_folder: Path, folder: Path) -> None:
    program = servers.make_program(folder / "folder-server", "folder_server.py")
    loaded = load("sglang", hub_folder, program, placement="gpu")
    try:
        with pytest.raises(UsageError) as caught:
            ask(loaded, render("hi"), Sampling(1.0, seed=7))
    finally:
        loaded.close()
    assert caught.value.message == "SGLang has no `seed`"


def test_biases_and_penalties_reach_a_server_and_others_are_refused(hub_folder: Path, folder: Path) -> None:
    program = servers.make_program(folder / "folder-server", "folder_server.py")
    loaded = load("vllm", hub_folder, program, placement="gpu")
    try:
        plain = ask(loaded, render("hi"), max_tokens=2).text
        token = loaded.tokenize(plain)[0]
        banned = ask(loaded, render("hi"), Sampling(0, logit_bias=((token, -1e4),)), max_tokens=2).text
        assert banned
        assert banned[0] != plain[0]
        size = loaded.info.vocabulary_size
        with pytest.raises(UsageError, match=f"names the token {size}; the model has {size}"):
            ask(loaded, render("hi"), Sampling(0, logit_bias=((size, 1.0),)))
        with pytest.raises(UsageError, match="vLLM does not tell here how likely its tokens were"):
            ask(loaded, render("hi"), likeliest=0)
    finally:
        loaded.close()


def test_a_device_that_a_program_is_not_for_is_refused(hub_folder: Path) -> None:
    with pytest.raises(DeviceError):
        load("vllm", hub_folder, "/nowhere", placement="cpu")


def test_a_folder_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        load("vllm", tmp_path, "/nowhere", placement="gpu")
    assert caught.value.message == "config.json is missing"


def test_a_program_that_ends_while_it_loads_is_told_with_its_last_words(gguf: Path, tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho warming up\necho CUDA out of memory >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(EngineError) as caught:
        load("llama-server", gguf, str(program))
    assert caught.value.message == "llama.cpp could not load the model: it ended with exit code 3"
    assert caught.value.detail == "warming up\nCUDA out of memory"


def test_a_program_that_cannot_be_run_is_told(gguf: Path, tmp_path: Path) -> None:
    program = tmp_path / "text"
    program.write_bytes(b"\0\1\2")
    program.chmod(0o755)
    with pytest.raises(EngineError):
        load("llama-server", gguf, str(program))


def find_server(loaded: ServedModel) -> psutil.Process:
    """The program behind the guard."""
    (child,) = psutil.Process(loaded._process._guard.pid).children()
    return child


def test_a_program_that_dies_while_it_answers_is_told_and_started_again(slow: Path, program: str) -> None:
    loaded = load("llama-server", slow, program)
    try:
        chunks = loaded.generate(GenerateRequest(render("hi"), GREEDY))
        assert [next(chunks), next(chunks)] == [Started(5), Piece("on ")]
        find_server(loaded).kill()
        with pytest.raises(EngineError) as caught:
            list(chunks)
        again = ask(loaded, render("hi"), max_tokens=2)
    finally:
        loaded.close()
    assert caught.value.message == "llama.cpp died while it answered: it ended with signal 9"
    assert "listening on" in (caught.value.detail or "")
    assert again.text == "on and "


def wait_for_end(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, left = psutil.wait_procs(processes, timeout=10)
    return left


LOADER = """
import sys, time
from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
loaded = make_backend("llama-server", sys.argv[1]).load(ModelFiles(sys.argv[2]), LoadOptions(None, 1))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["the worker", "the guard"])
def test_no_program_outlives_the_worker_however_it_ends(victim: str, gguf: Path, tmp_path: Path) -> None:
    server = servers.make_program(tmp_path / "inner", "llama_server.py")
    program = tmp_path / "wrapper"
    program.write_text(f'#!/bin/sh\nsleep 600 &\n"{server}" "$@"\n')  # children and grandchildren
    program.chmod(0o755)
    worker = subprocess.Popen([sys.executable, "-c", LOADER, program, gguf], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    started = psutil.Process(worker.pid).children(recursive=True)
    assert len(started) >= 4
    guard = next(one for one in started if "external/guard" in " ".join(one.cmdline()))
    if victim == "the worker":
        os.kill(worker.pid, signal.SIGKILL)
        assert wait_for_end(started) == []
    else:
        (direct,) = guard.children()
        guard.kill()
        assert wait_for_end([direct]) == []
        for one in started:
            if one.is_running():
                one.kill()
    worker.kill()
    worker.wait()
    worker.stdout.close()


def test_closing_ends_the_program_and_leaves_no_file(gguf: Path, program: str) -> None:
    loaded = load("llama-server", gguf, program)
    server, folder = find_server(loaded), loaded._folder
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    loaded.close()
    assert not server.is_running()
    assert not folder.exists()


def test_the_server_listens_on_this_machine_only_and_wants_its_key(gguf: Path, program: str) -> None:
    from localfirst.backends.external import http

    loaded = load("llama-server", gguf, program)
    try:
        listening = [one for one in find_server(loaded).net_connections("inet") if one.status == psutil.CONN_LISTEN]
        with pytest.raises(EngineError) as caught:
            http.ask(loaded._address._replace(key="guessed"), "/props")
        words = " ".join(find_server(loaded).cmdline())
    finally:
        loaded.close()
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    assert "wants a key" in caught.value.message
    assert (loaded._address.key or "?") not in words


def test_an_old_llamafile_is_not_spoken_to_but_its_model_can_be_opened_by_a_newer_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "old" / "model.llamafile"
    servers.make_llamafile(path, TEXT)
    monkeypatch.setenv("LF_TEST_LLAMAFILE_VERSION", "0.9.3")
    with pytest.raises(RuntimeMissingError) as caught:
        load("llamafile", path, None)
    assert "llamafile v0.9.3" in caught.value.message
    assert "LF_RUNTIME_LLAMAFILE" in (caught.value.hint or "")
    told: list[tuple[str, bool]] = []
    engine = servers.make_llamafile_engine(folder / "engine")
    loaded = load("llamafile", path, str(engine), report=lambda *words: told.append(words))
    try:
        assert ask(loaded, render("hi")).text == TEXT
    finally:
        loaded.close()
    assert [lasting for _, lasting in told] == [True]


def test_a_gguf_file_is_opened_by_a_llamafile_without_a_model(gguf: Path, folder: Path) -> None:
    loaded = load("llamafile", gguf, str(servers.make_llamafile_engine(folder / "engine")))
    try:
        assert ask(loaded, render("hi")).text == TEXT
    finally:
        loaded.close()
    with pytest.raises(RuntimeMissingError):
        load("llamafile", gguf, None)


@pytest.mark.parametrize(
    ("size", "arguments", "platform", "mode", "problem"),
    [
        (4 * 2**30, ("...",), "win32", 0o644, "Windows runs no program of 4 GB or more"),
        (4 * 2**30 - 1, ("...",), "win32", 0o644, None),
        (4 * 2**30, ("-m", "x", "..."), "linux", 0o755, None),
        (10, ("...", "--host", ANYWHERE), "linux", 0o755, "its own arguments would win over lf's"),
        (10, ("--host", ANYWHERE), "linux", 0o755, None),
        (10, (), "darwin", 0o644, "may not be run"),
    ],
    ids=["4 GB on Windows", "less", "4 GB elsewhere", "after what is typed", "instead of it", "not executable"],
)
def test_what_keeps_a_llamafile_from_being_started(
    size: int, arguments: tuple[str, ...], platform: str, mode: int, problem: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "m.llamafile"
    with path.open("wb") as file:
        file.truncate(size)
    path.chmod(mode)
    found = find_obstacle(path, arguments, platform)
    if problem == "may not be run" and os.geteuid() == 0:
        assert found is not None  # root may read everything, and run nothing that has no x
    else:
        assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


def test_a_llamafile_is_started_by_a_shell_but_for_windows() -> None:
    assert wrap_program("/a b.llamafile", "linux") == ("/bin/sh", "/a b.llamafile")
    assert wrap_program("C:\\m.llamafile", "win32") == ("C:\\m.llamafile",)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>" * 100, b"PK\5\6" + bytes(18), b"MZqFpD" + bytes(5000)],
    ids=["empty", "html", "bare", "MZ"],
)
def test_a_file_that_is_no_llamafile_is_never_started(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.llamafile"
    path.write_bytes(content)
    path.chmod(0o755)
    with pytest.raises(ModelFileError) as caught:
        load("llamafile", path, None)
    assert caught.value.message.startswith("model.llamafile")


def test_one_request_of_several_starts_a_dead_program_again(gguf: Path, program: str) -> None:
    loaded = load("llama-server", gguf, program)
    try:
        launch, started = loaded._launcher.launch, []
        loaded._launcher.launch = lambda: started.append(1) or launch()  # type: ignore[method-assign,func-returns-value]
        loaded._process.close()
        threads = [threading.Thread(target=ask, args=(loaded, render("hi"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert started == [1]
    finally:
        loaded.close()


@pytest.mark.parametrize("content", [b"x" * (2**20 + 1), None], ids=["a million", "damaged"])
def test_arguments_that_are_none_are_refused_before_they_are_unpacked(content: bytes | None, tmp_path: Path) -> None:
    model, path = tmp_path / "m.gguf", tmp_path / "model.llamafile"
    scripted.make_gguf(model, text=TEXT)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(model, "m.gguf")
        archive.writestr(".args", content or b"-m m.gguf " * 99, zipfile.ZIP_DEFLATED)
        place = archive.getinfo(".args").header_offset + 30 + len(".args")
    if content is None:
        raw = bytearray(path.read_bytes())
        raw[place] |= 6  # a kind of block that there is not
        path.write_bytes(raw)
    with pytest.raises(ModelFileError) as caught:
        load("llamafile", path, None)
    assert caught.value.message.startswith("model.llamafile")


@pytest.fixture(scope="module")
def address(gguf: Path, program: str) -> Iterator[str]:
    """A server that somebody else started."""
    loaded = load("llama-server", gguf, program)
    yield f"http://127.0.0.1:{loaded._address.port}/v1#{loaded._address.key}"
    loaded.close()


def reach(address: str, model: str | None = None, key: str | None = None) -> RemoteModel:
    url, _, own = address.partition("#")
    options = LoadOptions(None, 1, key=key or own, model=model)
    return make_backend("remote").load(ModelFiles(url), options)


def converse(model: RemoteModel, text: str, sampling: Sampling = GREEDY, **options: object) -> tuple[str, Finished]:
    started, *pieces, end = model.converse((Message("user", text),), GenerateRequest("", sampling, **options))
    assert started == Started(None)
    assert isinstance(end, Finished)
    return "".join(piece.text for piece in pieces), end


def test_a_server_elsewhere_answers_messages_and_counts(address: str) -> None:
    model = reach(address)
    text, end = converse(model, "hi")
    assert (text, end.finish_reason, end.usage.completion_tokens) == (TEXT, "stop", TOKENS)
    assert end.usage.prompt_tokens > 0
    assert model.info.context_tokens == 1024
    assert converse(model, "hi", max_tokens=3)[1].finish_reason == "length"
    assert converse(model, "hi", stop=("there! The",))[0] == "Hello "
    assert ask(model, render("hi")).text == TEXT


@pytest.fixture(scope="module")
def embedding_address(folder: Path, program: str) -> Iterator[str]:
    scripted.make_random_gguf(folder / "embed.gguf", Shape(layers=2, context=512), pooling="mean")
    loaded = load("llama-server", folder / "embed.gguf", program)
    yield f"http://127.0.0.1:{loaded._address.port}/v1#{loaded._address.key}"
    loaded.close()


def test_a_server_elsewhere_embeds(embedding_address: str) -> None:
    shape = Shape(layers=2, context=512)
    vocabulary = scripted.Vocabulary(minimum_size=512)
    weights = network.random_weights(shape, vocabulary.size, seed=0)
    texts = ["hi", "Grüße 😀", "one more"]
    found = reach(embedding_address).embed(texts, never)
    for text, one in zip(texts, found, strict=True):
        expected = embedding.embed(weights, shape, vocabulary.tokenize(text), "mean")
        assert np.abs(np.array(one.vector) - expected).max() < 1e-3
        assert one.tokens is None
    assert reach(embedding_address).embed([], never) == []
    with pytest.raises(UsageError, match="empty text"):
        reach(embedding_address).embed(["full", " "], never)


def test_a_cancel_hangs_up_on_a_server_elsewhere_that_embeds(embedding_address: str) -> None:
    began = time.monotonic()
    assert reach(embedding_address).embed(["x" * 500] * 4000, lambda: time.monotonic() > began + 0.2) == []
    assert time.monotonic() - began < 10


def test_a_server_elsewhere_that_does_not_embed_is_told_in_its_own_words(address: str) -> None:
    with pytest.raises(EngineError, match="refused a request") as caught:
        reach(address).embed(["hi"], never)
    assert "embeddings" in (caught.value.detail or "")


ANSWERS = {"no list": {"data": 3}, "too few": {"data": []}, "no numbers": {"data": [{"index": 0, "embedding": "AAAA"}]}}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_no_embedding_is_told(answer: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as caller:
                caller.recv(4096)
                body = json.dumps(answer).encode()
                caller.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(EngineError, match="no embedding"):
            embeddings.embed(http.Address("127.0.0.1", server.getsockname()[1]), "any", ["hi"], never)
        thread.join()


def test_a_server_that_refuses_a_long_prompt_is_told_with_both_numbers(address: str) -> None:
    with pytest.raises(ContextError) as caught:
        converse(reach(address), "a" * 3000)
    assert caught.value.message.startswith("The prompt has 30")
    assert caught.value.message.endswith("the context is 1024")


def test_what_openais_api_lacks_is_refused_by_name(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        converse(reach(address), "hi", Sampling(0.5, top_k=40))
    assert caught.value.message.endswith(" has no `top_k`")


def test_another_key_and_another_model_are_told(address: str) -> None:
    with pytest.raises(EngineError) as caught:
        reach(address, key="wrong")
    assert caught.value.hint == "Put its key into `LF_REMOTE_KEY`"
    with pytest.raises(UnknownNameError) as unknown:
        reach(address, model="gpt-9")
    assert "model.gguf" in (unknown.value.detail or "")


def test_nobody_there_is_a_network_error() -> None:
    with pytest.raises(NetworkError):
        reach("http://127.0.0.1:9/v1#key")


def test_a_cancel_ends_a_server_elsewheres_answer(slow: Path, program: str) -> None:
    served = load("llama-server", slow, program)
    flag = threading.Event()
    try:
        model = reach(f"http://127.0.0.1:{served._address.port}#{served._address.key}")
        request = GenerateRequest("", GREEDY, cancelled=flag.is_set)
        chunks = []
        for chunk in model.converse((Message("user", "hi"),), request):
            chunks.append(chunk)
            if len(chunks) == 4:
                flag.set()
                asked_s = time.monotonic()
        took_s = time.monotonic() - asked_s
    finally:
        served.close()
    assert isinstance(chunks[-1], Finished)
    assert chunks[-1].finish_reason == "cancelled"
    assert took_s < 0.5


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("ftp://host/v1", None, "not the address"),
        ("http://", None, "not the address"),
        ("http://host:port", None, "not the address"),
        ("https://me:secret@host/v1", None, "password"),
        ("http://host/v1", "k", "unencrypted"),
        ("https://h\u00f6st/v1", None, "not the address"),
        ("https://host/\u00fc/v1", None, "not the address"),
        ("https://host/v1", "secret\n", "`LF_REMOTE_KEY`"),
        ("https://host/v1", "secret\u00e9", "`LF_REMOTE_KEY`"),
    ],
)
def test_an_address_that_is_none_or_that_would_betray_a_key_is_refused(
    text: str, key: str | None, problem: str
) -> None:
    with pytest.raises(LfError) as caught:
        parse_address(text, key)
    assert problem in caught.value.message
    assert "secret" not in f"{caught.value.message}{caught.value.detail}{caught.value.hint}"


def test_an_address_is_written_as_it_is_read() -> None:
    assert str(parse_address("http://[::1]:8000/v1")) == "http://[::1]:8000"


def test_a_host_that_no_name_can_be_is_one_that_does_not_answer() -> None:
    with pytest.raises(NetworkError, match="does not answer"):
        http.ask(parse_address("http://a..b/v1"), "/v1/models")


ANSWERS = {
    "a refusal in FastAPI's form": (
        b'HTTP/1.1 422 No\r\n\r\n{"detail": [{"loc": ["body", 1], "msg": null}]}',
        'HTTP 422 [{"loc": ["body", 1], "msg": null}]',
    ),
    "a refusal within a refusal": (b'HTTP/1.1 400 No\r\n\r\n{"error": {"message": {"detail": "too hot"}}}', "too hot"),
    "no JSON": (b"HTTP/1.1 200 OK\r\n\r\n<html>it's us</html>", "<html>it's us</html>"),
    "a list": (b"HTTP/1.1 200 OK\r\n\r\n[1]", "[1]"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9\r\n", "what comes is no HTTP: SSH-2.0-OpenSSH_9"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "the answer broke off"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_a_server_says_is_shown_as_text_and_not_as_python_has_it(case: str) -> None:
    sent, told = ANSWERS[case]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises((EngineError, NetworkError)) as caught:
            http.ask(parse_address(f"http://127.0.0.1:{server.getsockname()[1]}/v1"), "/v1/models")
        thread.join()
    detail = caught.value.detail or ""
    assert detail.endswith(told)
    assert "b'" not in detail


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_proxy_is_asked_with_the_name_and_password_that_it_wants(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"{scheme}me:p%40ss@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")

        def answer() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 502 No\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NetworkError):
            http.ask(parse_address("https://server.example/v1", "key"), "/v1/models")
        thread.join()
    assert asked[0].startswith(b"CONNECT server.example:443 ")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss") in asked[0]
    assert b"key" not in asked[0]


@pytest.fixture
def proxy(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that wants a password, for a server of a name that only it knows."""
    with Proxy(routes={"models.test:8000": address.partition("/v1")[0]}, password="p@ss") as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{proxy.host}")
        monkeypatch.setenv("no_proxy", "")
        yield proxy


def test_a_proxy_is_asked_for_the_whole_address_where_nothing_is_encrypted(address: str, proxy: Proxy) -> None:
    server = http.Address("models.test", 8000, "", False, address.partition("#")[2])
    assert http.ask(server, "/v1/models")["data"]
    stream = http.Stream(server, "/v1/completions", {"prompt": render("hi"), "max_tokens": 3})
    events = list(iter(lambda: stream.wait(60), http.OVER))
    stream.close()
    text = "".join(choice["text"] for event in events if event for choice in event["choices"])
    assert text
    assert TEXT.startswith(text)
    assert proxy.seen == [
        (method, f"{server}/v1/{name}") for method, name in (("GET", "models"), ("POST", "completions"))
    ]
    assert {headers["Host"] for headers in proxy.headers} == {"models.test:8000"}


def test_a_proxy_that_wants_another_password_is_told_as_that(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(NetworkError, match=r"The proxy before http://models\.test:8000 wants a name and a password"):
        reach("http://models.test:8000/v1#")


def test_proxies_are_for_servers_elsewhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    assert converse(reach(address), "hi")[0] == TEXT
    with pytest.raises(NetworkError):
        reach("http://models.invalid/v1#")
