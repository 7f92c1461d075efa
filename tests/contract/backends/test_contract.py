"""What every adapter promises, run on the real engines with tiny real models."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import BINDINGS, ENGINES, GREEDY, Engine, ask
from tests.fixtures.engines import has_engine
from tests.fixtures.scripted import TEMPLATE, Shape, Vocabulary, render, split_reply

from localfirst.backends.base import Finished, GenerateRequest, Piece, Started
from localfirst.backends.registry import make_backend
from localfirst.conversation import Sampling, Usage
from localfirst.errors import ContextError, DeviceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

    Opened = Callable[..., AbstractContextManager[LoadedModel]]

CHUNKS = split_reply(TEXT)
LOOP = (b"on ", b"and ")
CANCEL_LIMIT_S = 0.5


def test_an_answer_is_the_exact_text_with_one_piece_per_token(model: LoadedModel) -> None:
    reply = ask(model, render("hi"))
    assert reply.pieces == tuple(chunk.decode() for chunk in CHUNKS)
    assert reply.end.finish_reason == "stop"


@pytest.mark.parametrize(
    "user",
    [
        "hi",
        "Grüße 😀 漢",
        "a" * 300,
        "<|user|> in the text",
        TEXT,
        "two\n\nlines, 12345 and  a   tab\t",
    ],
    ids=["short", "utf8", "long", "special", "the reply itself", "space"],
)
def test_token_counts_are_those_of_the_vocabulary(model: LoadedModel, user: str) -> None:
    prompt = render(user)
    tokens = Vocabulary(CHUNKS).tokenize(prompt)
    reply = ask(model, prompt)
    assert model.tokenize(prompt) == tokens
    assert reply.prompt_tokens == len(tokens)
    assert (reply.end.usage.prompt_tokens, reply.end.usage.completion_tokens) == (len(tokens), len(CHUNKS) + 1)


def test_a_prompt_may_be_token_ids(model: LoadedModel) -> None:
    assert ask(model, tuple(model.tokenize(render("hi")))).text == TEXT


def test_the_engine_says_of_what_it_was_built(engine: Engine) -> None:
    if engine.backend == "llamafile":
        pytest.skip("each llamafile brings its own engine")
    build = make_backend(engine.backend, engine.program).describe_build()
    assert re.search(engine.build, build)
    assert build.isprintable()


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.5, 40, 0.9, 0.05, 1.1, 7)], ids=["greedy", "every option"])
def test_no_sampling_option_misses_a_certain_token(engine: Engine, model: LoadedModel, sampling: Sampling) -> None:
    asked = dataclasses.replace(sampling, **{name: getattr(Sampling(), name) for name in engine.lacks})
    assert ask(model, render("hi"), asked).text == TEXT


@pytest.mark.parametrize(
    ("stop", "text", "tokens"),
    [
        (("there! The",), "Hello ", 3),
        (("absent", "tiny"), "Hello there! The ", 4),
        (("😀",), "Hello there! The tiny model answers Grüße ", 8),
        (("Hello",), "", 1),
        (("absent",), TEXT, len(CHUNKS) + 1),
        (("stops.?",), TEXT, len(CHUNKS) + 1),
    ],
    ids=["across tokens", "second of two", "a character of four bytes", "at once", "never", "only begun"],
)
def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(
    model: LoadedModel, stop: tuple[str, ...], text: str, tokens: int
) -> None:
    reply = ask(model, render("hi"), stop=stop)
    assert (reply.text, reply.end.finish_reason, reply.end.usage.completion_tokens) == (text, "stop", tokens)
    assert reply.end.stopped_by == (stop[-1] if text != TEXT else None)


def test_the_asked_maximum_ends_the_answer(model: LoadedModel) -> None:
    reply = ask(model, render("hi"), max_tokens=3)
    assert reply.text == b"".join(CHUNKS[:3]).decode()
    assert (reply.end.finish_reason, reply.end.usage.completion_tokens) == ("length", 3)


def test_an_answer_goes_on_past_its_end_where_that_is_asked_for(engine: Engine, model: LoadedModel) -> None:
    assert model.info.ignores_end == engine.ignores_end
    if not engine.ignores_end:
        with pytest.raises(UsageError, match="has no `ignore_end`"):
            ask(model, render("hi"), max_tokens=40, ignore_end=True)
        return
    reply = ask(model, render("hi"), max_tokens=40, ignore_end=True)
    assert reply.text.startswith(TEXT)
    assert (reply.end.finish_reason, reply.end.usage.completion_tokens) == ("length", 40)
    assert ask(model, render("hi")).end.finish_reason == "stop"


@pytest.mark.parametrize("count", [7, 64, 200])
def test_a_prompt_of_so_many_ids_is_read_as_so_many(model: LoadedModel, count: int) -> None:
    prompt = tuple(model.tokenize("The quick brown fox jumps over a lazy dog. " * 20)[:count])
    reply = ask(model, prompt, max_tokens=1)
    assert (reply.prompt_tokens, reply.end.usage.prompt_tokens) == (count, count)


def test_how_many_prompt_tokens_are_computed_at_once_changes_no_answer(engine: Engine, scripted_path: Path) -> None:
    if not engine.told_batch:
        with pytest.raises(UsageError, match="decides itself"):
            engine.load(scripted_path, batch_tokens=32)
        return
    loaded = engine.load(scripted_path, batch_tokens=32)
    try:
        assert ask(loaded, render("a" * 150)).text == TEXT
    finally:
        loaded.close()


@pytest.mark.parametrize("context_tokens", [256, 300], ids=["a size engines like", "an odd size"])
@pytest.mark.parametrize("prompt_bytes", [100, 252], ids=["room", "little room"])
def test_a_full_context_ends_the_answer(
    engine: Engine, opened: Opened, tmp_path: Path, context_tokens: int, prompt_bytes: int
) -> None:
    engine.make(tmp_path / engine.file_name, reply_tokens=LOOP, loop=True)
    with opened(tmp_path / engine.file_name, context_tokens) as loaded:
        reply = ask(loaded, render("a" * prompt_bytes))
    room = context_tokens - prompt_bytes - 3
    assert loaded.info.context_tokens == context_tokens
    assert (reply.end.finish_reason, reply.end.usage.completion_tokens) == ("context", room)
    assert reply.text == ("on and " * room)[: len(reply.text)]


def test_asking_for_more_than_fits_is_clamped(opened: Opened, scripted_path: Path) -> None:
    with opened(scripted_path, 256) as loaded:
        reply = ask(loaded, render("a" * 250), max_tokens=1000)
    assert (reply.end.finish_reason, reply.end.usage.completion_tokens) == ("context", 3)


def test_a_prompt_longer_than_the_context_is_an_error_with_both_numbers(opened: Opened, scripted_path: Path) -> None:
    with opened(scripted_path, 256) as loaded:
        with pytest.raises(ContextError) as caught:
            ask(loaded, render("a" * 253))
        assert ask(loaded, render("hi")).text == TEXT
    assert caught.value.message == "The prompt has 256 tokens; the context is 256"


def test_an_empty_prompt_is_an_error(model: LoadedModel) -> None:
    with pytest.raises(UsageError):
        ask(model, "")


def test_a_character_over_several_tokens_is_never_cut(engine: Engine, opened: Opened, tmp_path: Path) -> None:
    reply = (b"a\xf0\x9f", b"\x98", b"\x80 Gr\xc3", b"\xbc\xc3", b"\x9f", b"e ", b"\xe6", b"\xbc\xa2!")
    engine.make(tmp_path / engine.file_name, reply_tokens=reply)
    with opened(tmp_path / engine.file_name) as loaded:
        answer = ask(loaded, render("hi"))
        for piece in answer.pieces:
            piece.encode()
    assert answer.text == "a😀 Grüße 漢!"
    assert "\ufffd" not in answer.text
    assert answer.end.usage.completion_tokens == len(reply) + 1


def test_a_character_that_the_maximum_cuts_off_is_left_out(engine: Engine, opened: Opened, tmp_path: Path) -> None:
    engine.make(tmp_path / engine.file_name, reply_tokens=(b"ab", b" \xf0\x9f", b"\x98\x80"))
    with opened(tmp_path / engine.file_name) as loaded:
        assert ask(loaded, render("hi"), max_tokens=2).text.rstrip() == "ab"


def test_bytes_that_are_no_text_cost_no_character_after_them(engine: Engine, opened: Opened, tmp_path: Path) -> None:
    engine.make(tmp_path / engine.file_name, reply_tokens=(b"ab", b"\xff", b"cd", b"ef", b"\xc3("))
    with opened(tmp_path / engine.file_name) as loaded:
        assert ask(loaded, render("hi")).text == "ab\ufffdcdef\ufffd("


def test_the_same_seed_draws_the_same_answer_and_another_seed_another(noise: LoadedModel) -> None:
    texts = [ask(noise, render("hi"), Sampling(1.0, seed=seed), max_tokens=24).text for seed in (7, 7, 8, 2**40, 2**40)]
    assert texts[0] == texts[1]
    assert texts[3] == texts[4]
    assert len({texts[0], texts[2], texts[3]}) == 3


def test_without_a_seed_answers_differ(noise: LoadedModel) -> None:
    assert len({ask(noise, render("hi"), Sampling(5.0), max_tokens=24).text for _ in range(3)}) == 3


@pytest.mark.parametrize(("option", "value"), [("top_k", 1), ("top_p", 1e-6), ("min_p", 1.0)])
def test_an_option_that_leaves_one_candidate_is_greedy(
    engine: Engine, noise: LoadedModel, option: str, value: float
) -> None:
    if option in engine.lacks:
        pytest.skip(f"{engine.backend} has no {option}")
    sampling = Sampling(1.0, **{option: value})
    assert ask(noise, render("hi"), sampling, max_tokens=24).text == ask(noise, render("hi"), max_tokens=24).text


def test_a_repetition_penalty_changes_a_repeating_answer(engine: Engine, noise: LoadedModel) -> None:
    if "repetition_penalty" in engine.lacks:
        pytest.skip(f"{engine.backend} has no repetition_penalty")
    plain = ask(noise, render("hi"), max_tokens=40)
    penalized = [ask(noise, render("hi"), Sampling(0, repetition_penalty=5.0), max_tokens=40).text for _ in range(2)]
    assert penalized[0] == penalized[1]
    assert penalized[0] != plain.text


def test_all_engines_compute_the_same_answer_from_the_same_weights(tmp_path: Path) -> None:
    answers = []
    for one in filter(lambda one: has_engine(one.backend), (*ENGINES, BINDINGS)):  # BitNet's weights are others
        one.make_random(tmp_path / one.backend / one.file_name, Shape(layers=2), seed=4)
        loaded = one.load(tmp_path / one.backend / one.file_name)
        answers.append(ask(loaded, render("the same for all"), max_tokens=32))
        loaded.close()
    assert len({(answer.text, answer.end.usage) for answer in answers}) == 1


def test_a_second_turn_reuses_what_was_read_and_answers_as_if_it_were_new(
    engine: Engine, noise: LoadedModel, opened: Opened, random_path: Path
) -> None:
    sampling = GREEDY if engine.one_sampler else Sampling(1.0, seed=3)
    first = ask(noise, render("one two three " * 5), max_tokens=8)
    prompt = tuple(noise.tokenize(render("one two three " * 5) + "and so on"))
    second = ask(noise, prompt, sampling, max_tokens=8)
    with opened(random_path) as loaded:
        fresh = ask(loaded, prompt, sampling, max_tokens=8)
    kept = 73 // engine.reuse_tokens * engine.reuse_tokens
    assert first.prompt_tokens == 73
    assert second.end.usage == Usage(len(prompt), 8, cached_tokens=kept)
    assert fresh.end.usage == Usage(len(prompt), 8, cached_tokens=0)
    assert second.text == fresh.text


def test_a_shorter_prompt_after_a_longer_one_is_answered_afresh(noise: LoadedModel) -> None:
    before = ask(noise, render("short"), max_tokens=8).text
    ask(noise, render("something much longer than that"), max_tokens=8)
    assert ask(noise, render("short"), max_tokens=8).text == before


@pytest.fixture(scope="module")
def slow(engine: Engine, folder: Path) -> Iterator[LoadedModel]:
    """A model whose answer never ends, and that takes seconds to read a long prompt; loaded once."""
    shape = Shape(hidden=512, layers=6, heads=8, kv_heads=8, feed_forward=2048, context=16384)
    engine.make(folder / "slow" / engine.file_name, reply_tokens=LOOP, loop=True, shape=shape)
    loaded = engine.load(folder / "slow" / engine.file_name)
    yield loaded
    loaded.close()


def test_a_cancel_in_the_middle_of_an_answer_ends_it(slow: LoadedModel) -> None:
    flag = threading.Event()
    chunks = []
    for chunk in slow.generate(GenerateRequest(render("hi"), GREEDY, cancelled=flag.is_set)):
        chunks.append(chunk)
        if len(chunks) == 5:
            flag.set()
            cancelled_at = time.perf_counter()
    took_s = time.perf_counter() - cancelled_at
    again = ask(slow, render("hi"), max_tokens=2)
    *pieces, end = chunks[1:]
    assert isinstance(end, Finished)
    assert end.finish_reason == "cancelled"
    assert 4 <= end.usage.completion_tokens <= 8
    assert "".join(piece.text for piece in pieces).startswith("on and on and ")
    assert took_s < CANCEL_LIMIT_S
    assert again.text == "on and "


def test_a_cancel_in_the_middle_of_the_prompt_ends_it(slow: LoadedModel) -> None:
    flag = threading.Event()
    prompt = tuple(slow.tokenize(render("a" * 16000)))
    timer = threading.Timer(0.3, flag.set)
    chunks = []
    for chunk in slow.generate(GenerateRequest(prompt, GREEDY, cancelled=flag.is_set)):
        if isinstance(chunk, Started):
            began = time.perf_counter()
            timer.start()
        chunks.append(chunk)
    took_s = time.perf_counter() - began
    timer.join()
    again = ask(slow, render("hi"), max_tokens=2)
    assert chunks[0] == Started(len(prompt))
    assert [chunk for chunk in chunks if isinstance(chunk, Piece)] == []
    assert isinstance(chunks[-1], Finished)
    assert (chunks[-1].finish_reason, chunks[-1].usage.completion_tokens) == ("cancelled", 0)
    assert took_s < 0.3 + CANCEL_LIMIT_S
    assert again.text == "on and "


def test_an_answer_that_nobody_reads_on_does_not_block_the_next(slow: LoadedModel) -> None:
    chunks = slow.generate(GenerateRequest(render("hi"), GREEDY))
    assert next(chunks) == Started(5)
    assert next(chunks) == Piece("on ")
    chunks.close()
    assert ask(slow, render("hi"), max_tokens=2).text == "on and "


def test_info_tells_what_is_loaded(engine: Engine, model: LoadedModel) -> None:
    info = model.info
    assert (info.backend, info.context_tokens, info.placement, info.parallel) == (engine.backend, 1024, "cpu", 1)
    bos_token = "<|endoftext|>" if engine.knows_bos else ""
    assert (info.template, info.bos_token, info.eos_token) == (TEMPLATE, bos_token, "<|end|>")
    assert (info.engine, info.engine_version, info.device) == {
        "xllamacpp": ("llama.cpp", "2026.10.11549", "CPU"),
        "onnx": ("onnxruntime-genai", "0.18.0", "CPU"),
        "mlx": ("mlx-lm", "0.32.2", "CPU"),
        "openvino": ("openvino-genai", "2026.4.1.0", "CPU"),
        "litert": ("litert-lm", "0.18.1", "CPU"),
        "llama-server": ("llama.cpp", "b0-unknown", "CPU"),
        "llamafile": ("llamafile", "b0-unknown", "CPU"),
        "llama-cpp-python": ("llama-cpp-python", "0.3.36", "CPU"),
        "bitnet": ("llama-cpp-python", "0.3.36", "CPU"),
    }[engine.backend]


def test_a_model_without_a_template_says_so(engine: Engine, opened: Opened, tmp_path: Path) -> None:
    engine.make(tmp_path / engine.file_name, "Just text.", template=None)
    with opened(tmp_path / engine.file_name) as loaded:
        assert loaded.info.template is None


def test_a_template_that_never_ends_does_not_hold_up_the_load(engine: Engine, opened: Opened, tmp_path: Path) -> None:
    endless = "{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}{% endfor %}"
    engine.make(tmp_path / engine.file_name, "Just text.", template=endless)
    with opened(tmp_path / engine.file_name) as loaded:
        assert loaded.info.template == endless


def test_a_context_larger_than_the_model_was_trained_for_is_cut(opened: Opened, scripted_path: Path) -> None:
    with opened(scripted_path, 10**6) as loaded:
        assert loaded.info.context_tokens == 1024


@pytest.mark.parametrize("prompt", ["plain", "<|endoftext|>plain"], ids=["missing", "written by the template"])
def test_the_first_token_that_a_model_wants_is_there_once(
    engine: Engine, opened: Opened, tmp_path: Path, prompt: str
) -> None:
    engine.make(tmp_path / engine.file_name, "Just text.", add_bos=True)
    with opened(tmp_path / engine.file_name) as loaded:
        assert ask(loaded, prompt).prompt_tokens == len("plain") + 1
        assert loaded.tokenize("plain") == list(b"plain")


def test_a_device_that_the_engine_lacks_is_refused(engine: Engine, scripted_path: Path) -> None:
    from localfirst.backends.base import LoadOptions, ModelFiles
    from localfirst.backends.registry import make_backend

    with pytest.raises(DeviceError):
        make_backend(engine.backend, engine.program).load(
            ModelFiles(str(scripted_path)), LoadOptions(None, 1, placement="npu")
        )


def test_nothing_listens_on_the_network(engine: Engine, model: LoadedModel) -> None:
    import psutil

    assert [one for one in psutil.Process().net_connections("inet") if one.status == psutil.CONN_LISTEN] == []
