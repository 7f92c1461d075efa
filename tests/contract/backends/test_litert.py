"""What is LiteRT-LM's own: sessions that keep a sampler, prompts that are read piece by piece as text, older files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.contract.backends.engines import GREEDY, ask
from tests.fixtures import scripted
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import litert_file, render
from tests.fixtures.scripted.onnx_proto import bytes_field, integer_field
from tests.fixtures.scripted.vocabulary import BOS_ID, END_ID

from localfirst.backends.base import LoadedModel, LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.conversation import Sampling
from localfirst.errors import UsageError
from localfirst.paths import starter_dir
from localfirst.services.engines import STARTER_FILES

PIECE = max(litert_file.PREFILL_TOKENS)
LONG = "Grüße 😀 漢字, one two three and so on. " * 12


def load(path: Path, context_tokens: int | None = None) -> LoadedModel:
    need_engine("litert")
    return make_backend("litert").load(ModelFiles(str(path)), LoadOptions(context_tokens, threads=2))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "model.litertlm"
    scripted.make_random_litert(path, scripted.Shape(layers=2))
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], LoadedModel]]:
    models: list[LoadedModel] = []

    def open_model() -> LoadedModel:
        models.append(load(path))
        return models[-1]

    yield open_model
    for model in models:
        model.close()


def test_a_prompt_of_many_pieces_is_answered_as_one_of_the_same_tokens(opened: Callable[[], LoadedModel]) -> None:
    model, other = opened(), opened()
    prompt = render(LONG)
    tokens = tuple(model.tokenize(prompt))
    assert len(tokens) > 4 * PIECE
    as_text, as_ids = ask(model, prompt, max_tokens=24), ask(other, tokens, max_tokens=24)
    assert as_text.text == as_ids.text
    assert as_text.prompt_tokens == as_ids.prompt_tokens == len(tokens)
    # Read as one piece by another way: what is there of it is known, so all but the last token is kept.
    again = ask(model, prompt, max_tokens=24)
    assert again.text == as_text.text
    assert again.end.usage.cached_tokens == len(tokens) - 1


def test_a_turn_that_parts_from_the_one_before_inside_a_character_goes_back_to_its_beginning(
    opened: Callable[[], LoadedModel],
) -> None:
    model, fresh = opened(), opened()
    ask(model, render("one 😀"), max_tokens=24)  # F0 9F 98 80
    prompt = render("one 😁")  # F0 9F 98 81
    second, cold = ask(model, prompt, max_tokens=24), ask(fresh, prompt, max_tokens=24)
    assert second.end.usage.cached_tokens == 1 + len("one ")
    assert second.text == cold.text


def test_a_turn_with_other_options_or_a_seed_is_read_afresh(opened: Callable[[], LoadedModel]) -> None:
    model = opened()

    def find_cached(sampling: Sampling, max_tokens: int = 8) -> int:
        return ask(model, render("one two three"), sampling, max_tokens=max_tokens).end.usage.cached_tokens

    warm = Sampling(0.9)
    kept = model.tokenize(render("one two three"))[:-1]
    assert [find_cached(warm), find_cached(warm)] == [0, len(kept)]
    assert find_cached(Sampling(0.8)) == 0
    assert [find_cached(Sampling(0.8, seed=1)), find_cached(Sampling(0.8, seed=1))] == [0, 0]
    assert [find_cached(GREEDY), find_cached(Sampling(0, seed=5)), find_cached(Sampling(1, top_k=1))] == [
        0,
        len(kept),
        len(kept),
    ]
    assert find_cached(GREEDY, max_tokens=9) == 0


def test_seeds_that_follow_each_other_draw_different_first_tokens(opened: Callable[[], LoadedModel]) -> None:
    model = opened()
    first = [ask(model, render("hi"), Sampling(2.0, seed=seed), max_tokens=1).text for seed in range(12)]
    assert len(set(first)) > 6


def test_token_ids_that_are_no_text_are_refused(opened: Callable[[], LoadedModel]) -> None:
    with pytest.raises(UsageError, match="those of no text"):
        ask(opened(), (97, 0xF0, 0x9F))


def test_an_answer_whose_last_token_is_half_a_character_leaves_it_out(tmp_path: Path) -> None:
    scripted.make_litert(tmp_path / "m.litertlm", reply_tokens=(b"ab", b"\xff\xfe", b" c\xf0\x9f"))
    model = load(tmp_path / "m.litertlm")
    assert ask(model, render("hi")).text == "ab\ufffd\ufffd c"
    model.close()


def test_special_tokens_in_an_answer_are_not_shown() -> None:
    model = load(Path(starter_dir(), STARTER_FILES["litertlm"]))
    prompt = "<|user|>What is QAT?<|end|><|assistant|>"
    reply = ask(model, prompt, max_tokens=160)
    assert reply.text.startswith("QAT is quantization-aware training.")
    assert reply.end.usage.completion_tokens == len(model.tokenize(reply.text)) + 2  # the intent, and the end
    model.close()


def test_the_first_token_is_put_there_by_the_engine_once_in_every_session(tmp_path: Path) -> None:
    scripted.make_litert(tmp_path / "m.litertlm", "Hello there, you two.", add_bos=True)
    model = load(tmp_path / "m.litertlm")
    assert model.info.bos_token == "<|endoftext|>"
    prompt = render(LONG)
    for sampling in (GREEDY, GREEDY, Sampling(1.0), GREEDY):
        for text in (prompt, "<|endoftext|>" + prompt, (BOS_ID, *model.tokenize(prompt))):
            reply = ask(model, text, sampling)
            assert reply.prompt_tokens == len(model.tokenize(prompt)) + 1
            assert reply.text == "Hello there, you two."
    model.close()


def test_a_closed_model_gives_its_memory_back(tmp_path: Path) -> None:
    shape = scripted.Shape(hidden=512, layers=4, heads=8, kv_heads=8, feed_forward=2048)
    scripted.make_random_litert(tmp_path / "m.litertlm", shape)
    process = psutil.Process()
    before = process.memory_info().rss
    model = load(tmp_path / "m.litertlm")
    ask(model, render("hi"), max_tokens=4)
    held = process.memory_info().rss - before
    model.close()
    assert held > 30_000_000
    assert process.memory_info().rss - before < held / 4


def test_nothing_is_written_beside_the_model(path: Path, opened: Callable[[], LoadedModel]) -> None:
    ask(opened(), render("hi"), max_tokens=4)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def pack(path: Path, description: bytes) -> Path:
    """A file with a description of one's own."""
    source = path.parent / "source.litertlm"
    vocabulary = scripted.make_litert(source, "Just text.")
    graph = litert_file.Builder(
        scripted.Shape(), litert_file.network.scripted_weights(scripted.Shape(), vocabulary, loop=False)
    )
    path.write_bytes(litert_file.pack_file(graph.build(), json.dumps(vocabulary.tokenizer_json()), description))
    return path


def test_a_file_that_only_says_what_stands_around_each_text_gets_a_template(tmp_path: Path) -> None:
    from localfirst.chat.render import render_chat
    from localfirst.conversation import Message

    def affixes(prefix: str, suffix: str) -> bytes:
        return bytes_field(1, prefix) + bytes_field(2, suffix)

    user = bytes_field(1, affixes("<|user|>", "<|end|>"))
    turns = bytes_field(3, user + bytes_field(2, affixes("<|assistant|>", "<|end|>\n")))
    path = pack(tmp_path / "m.litertlm", litert_file.describe_model(1024, stop=(END_ID,)) + turns)
    model = load(path)
    messages = (Message("user", "it's"), Message("assistant", "b"), Message("user", "c"))
    prompt = render_chat(model.info.template or "", messages, bos_token="", eos_token="")
    assert prompt == "<|user|>it's<|end|><|assistant|>b<|end|>\n<|user|>c<|end|><|assistant|>"
    assert ask(model, prompt).text == "Just text."
    model.close()


def test_end_tokens_may_be_written_as_texts(tmp_path: Path) -> None:
    description = (
        bytes_field(2, bytes_field(2, "<|end|>")) + integer_field(5, 512) + bytes_field(6, bytes_field(1, b""))
    )
    model = load(pack(tmp_path / "m.litertlm", description))
    assert (model.info.eos_token, model.info.context_tokens) == ("", 512)
    assert ask(model, render("hi")).end.finish_reason == "stop"
    model.close()
