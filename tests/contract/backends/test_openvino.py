"""What only OpenVINO's adapter has to see to: damaged graphs, unknown tokenizers, and what its cache kept."""

from __future__ import annotations

import json
import random
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import GREEDY, ask, find_engine
from tests.contract.backends.test_bad_files import CONTENTS, load_in_child
from tests.fixtures import scripted
from tests.fixtures.scripted import Shape, render

from localfirst.backends.base import GenerateRequest, Started
from localfirst.backends.openvino import adapter
from localfirst.errors import ContextError, EngineError, ModelFileError

if TYPE_CHECKING:
    from pathlib import Path

OPENVINO = find_engine("openvino")
GRAPHS = ("openvino_model", "openvino_tokenizer", "openvino_detokenizer")
CHECKED = tuple(f"{graph}.xml" for graph in GRAPHS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino") / "model"
    scripted.make_openvino(folder, TEXT)
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    shutil.copytree(source, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", [*CHECKED, "config.json", "generation_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_that_is_something_else_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        OPENVINO.load(folder)
    assert caught.value.message.startswith(name)


@pytest.mark.parametrize("name", [f"{graph}.{end}" for graph in GRAPHS for end in ("xml", "bin")])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelFileError) as caught:
        OPENVINO.load(folder)
    assert caught.value.message == f"{name} is missing"


@pytest.mark.parametrize("name", [f"{graph}.{end}" for graph in GRAPHS for end in ("xml", "bin")])
def test_a_file_that_is_cut_short_is_told_in_the_engines_words(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    code, message, detail = load_in_child("openvino", folder)
    assert (code, message) == ("model-file", "A file of model is missing or damaged")
    assert detail.startswith(("Error parsing", "Could not determine tag type", "Start-end tags", "Incorrect weights"))


def test_weights_that_are_a_page_of_a_hub_are_named(folder: Path) -> None:
    (folder / "openvino_model.bin").write_bytes(CONTENTS["an LFS pointer"])
    with pytest.raises(ModelFileError, match=r"^openvino_model\.bin is a Git LFS pointer"):
        OPENVINO.load(folder)


def test_a_graph_of_something_else_is_told_in_the_engines_words(folder: Path) -> None:
    for end in ("xml", "bin"):
        shutil.copy(folder / f"openvino_detokenizer.{end}", folder / f"openvino_model.{end}")
    with pytest.raises((EngineError, ModelFileError)) as caught:
        OPENVINO.load(folder)
    assert caught.value.detail


def test_a_model_that_sees_pictures_is_refused_as_that(folder: Path) -> None:
    (folder / "openvino_model.xml").rename(folder / "openvino_language_model.xml")
    with pytest.raises(ModelFileError, match="sees pictures"):
        OPENVINO.load(folder)


def test_only_the_graphs_have_to_be_there(folder: Path) -> None:
    for path in folder.glob("*.j*"):
        path.unlink()
    with pytest.raises(ModelFileError, match="how long its context is"):
        OPENVINO.load(folder)
    loaded = OPENVINO.load(folder, 512)
    assert loaded.info.context_tokens == 512
    answer = ask(loaded, render("hi"))
    loaded.close()
    assert (answer.text, answer.end.finish_reason) == (TEXT, "stop")


def test_a_folder_that_does_not_say_how_an_answer_ends_is_refused(folder: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        (folder / name).unlink()
    graph = folder / "openvino_tokenizer.xml"
    graph.write_text(re.sub(r"<eos_token_id [^>]*>", "", graph.read_text()))
    with pytest.raises(ModelFileError, match="which token ends an answer"):
        OPENVINO.load(folder, 512)


def test_ends_are_found_in_the_configuration_of_the_model_too(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    graph = folder / "openvino_tokenizer.xml"
    graph.write_text(re.sub(r"<eos_token_id [^>]*>", "", graph.read_text()))
    loaded = OPENVINO.load(folder)
    answer = ask(loaded, render("hi"))
    loaded.close()
    assert (answer.text, answer.end.finish_reason) == (TEXT, "stop")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ((b"a\xf0\x9f", b"\x98", b"\x80 Gr\xc3", b"\xbc\xc3", b"\x9f", b"e ", b"\xe6", b"\xbc\xa2!"), "a😀 Grüße 漢!"),
        ((b"ab", b"\xff", b"cd", b"ef", b"\xc3("), "ab\ufffdcdef\ufffd("),
        ((b" one", b" two", b"  ", b"\n\n", b" three"), " one two  \n\n three"),
    ],
    ids=["characters over several tokens", "bytes that are no text", "spaces"],
)
def test_an_unknown_tokenizer_is_decoded_by_its_graph(tmp_path: Path, reply: tuple[bytes, ...], text: str) -> None:
    scripted.make_openvino(tmp_path / "model", reply_tokens=reply)
    (tmp_path / "model" / "tokenizer.json").unlink()
    loaded = OPENVINO.load(tmp_path / "model")
    answer = ask(loaded, render("hi"))
    loaded.close()
    assert answer.text == text
    assert answer.end.usage.completion_tokens == len(reply) + 1


@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
def test_the_template_is_found_where_converters_put_it(folder: Path, place: str) -> None:
    (folder / "chat_template.jinja").unlink()
    text = "{{ messages }}"
    (folder / place).write_text(text if place.endswith("jinja") else json.dumps({"chat_template": text}))
    loaded = OPENVINO.load(folder)
    loaded.close()
    assert loaded.info.template == text


def test_what_was_kept_of_a_prompt_is_what_the_engine_did_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one token a step, the steps before the first token of the answer are the tokens that were read."""
    scripted.make_random_openvino(tmp_path / "model", Shape(layers=1))
    loaded = OPENVINO.load(tmp_path / "model", 512, batch_tokens=1)
    assert isinstance(loaded, adapter.OpenVinoModel)
    taken = count_steps(loaded, monkeypatch)
    draw = random.Random(1)  # noqa: S311 - the same for every run
    texts: list[list[int]] = [[]]
    for turn in range(40):
        before = draw.choice(texts[-3:])
        kept = before[: draw.choice([0, len(before), draw.randrange(len(before) + 1)])]
        prompt = [*kept, *(draw.randrange(20, 250) for _ in range(draw.randrange(1, 60)))][:400]
        taken.clear()
        answer = ask(loaded, tuple(prompt), GREEDY, max_tokens=draw.randrange(1, 70))
        read = len(taken) - (answer.end.usage.completion_tokens - 1)
        assert answer.end.usage.cached_tokens <= len(prompt) - read, turn
        if before is texts[-1]:
            assert answer.end.usage.cached_tokens == len(prompt) - read, turn
        texts.append([*prompt, *loaded.tokenize(answer.text)])
    loaded.close()


def count_steps(loaded: adapter.OpenVinoModel, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """A list that gets an entry for each step of the engine that computes something."""
    steps: list[None] = []
    run = loaded._answers.run

    def counted(*args):
        for token in run(*args):
            steps.append(None)
            yield token

    monkeypatch.setattr(loaded._answers, "run", counted)
    return steps


def test_a_prompt_that_was_cancelled_leaves_a_sound_cache(tmp_path: Path) -> None:
    scripted.make_random_openvino(tmp_path / "model", Shape(layers=2))
    loaded, fresh = (OPENVINO.load(tmp_path / "model") for _ in range(2))
    prompt = render("one two three " * 60)
    flags = iter([False, False, False, True])
    *_, end = loaded.generate(GenerateRequest(prompt, GREEDY, cancelled=lambda: next(flags)))
    assert end.finish_reason == "cancelled"
    again, cold = (ask(one, prompt, max_tokens=30) for one in (loaded, fresh))
    assert again.text == cold.text
    for one in (loaded, fresh):
        one.close()


def test_a_folder_without_a_context_is_held_to_the_one_that_is_asked_for(folder: Path) -> None:
    (folder / "config.json").unlink()
    loaded = OPENVINO.load(folder, 64)
    chunks = loaded.generate(GenerateRequest(render("a" * 61), GREEDY))
    with pytest.raises(ContextError):
        next(chunks)
    assert next(loaded.generate(GenerateRequest(render("a" * 60), GREEDY))) == Started(63)
    loaded.close()
