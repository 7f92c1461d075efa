"""The starter model's data: its answers name only what this command line has, and held-out means held out."""

from __future__ import annotations

import hashlib
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localfirst.catalog.parse import parse_catalog
from localfirst.gguf.read import read_header
from localfirst.services.engines import TEST_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from phrasings import Intent

    from localfirst.types import Model

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src/localfirst/starter"
MAX_SHIPPED_BYTES = 12_600_000
CHAT_COMMANDS = {
    *("/help", "/bye", "/clear", "/set system TEXT", "/set parameter NAME VALUE", "/set parameter temperature 0.2"),
    *("/show info", "/show stats", "/regen", "/file PATH", '"""'),
}
VARIABLES = {
    *("LF_HOME", "LF_OFFLINE", "LF_RUNTIME_<NAME>", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "NO_COLOR"),
}
NAMES = {
    *("llama-cpu", "onnx-cpu", "llama-metal", "xllamacpp", "onnx", "auto", "cpu", "gpu", "npu", "zsh", "fish"),
    *(
        "name:size@quant#backend",
        ":file",
        "@revision",
        "hf:org/repo",
        "import localfirst",
        'localfirst.load("starter")',
        "~/.zshrc",
    ),
}


@pytest.fixture(scope="module")
def intents() -> Iterator[tuple[Intent, ...]]:
    """Every intent, read by the build's own reader."""
    folder = str(ROOT / "tools/starter")
    sys.path.insert(0, folder)
    try:
        import phrasings

        yield phrasings.load()
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def app() -> click.Command:
    """The real command line."""
    import typer

    from localfirst.cli import app as typer_app

    return typer.main.get_command(typer_app)


def options_of(command: click.Command) -> set[str]:
    """Every spelling of every option of one command."""
    return {"--help"} | {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def find_command(app: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that `words` name, and the words left for it."""
    command = app
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def all_options(command: click.Command) -> set[str]:
    """Every option of a command and of all commands below it."""
    found = options_of(command)
    for below in getattr(command, "commands", {}).values():
        found |= all_options(below)
    return found


def unknown_part(app: click.Command, span: str) -> str | None:
    """The first word of a span in backticks that this command line does not have, or None."""
    if span in CHAT_COMMANDS | NAMES:
        return None
    if span.split("=", maxsplit=1)[0] in VARIABLES:
        return None
    words = span.split()
    if words[0] == "lf":
        command, rest = find_command(app, words[1:])
        if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            return rest[0]
        return next((word for word in rest if word.startswith("-") and word not in options_of(command)), None)
    if words[0].startswith("-"):
        return None if words[0] in all_options(app) else words[0]
    return span


def test_every_command_and_option_in_an_answer_exists(intents: tuple[Intent, ...], app: click.Command) -> None:
    unknown = {
        (intent.id, part)
        for intent in intents
        for span in re.findall(r"`([^`]+)`", intent.answer)
        if (part := unknown_part(app, span)) is not None
    }
    assert unknown == set()


def test_the_check_sees_commands_and_options_that_do_not_exist(app: click.Command) -> None:
    spans = ["lf model list --fit", "lf model fly", "--frobnicate", "LF_HOUSE", "/dance", "lf hw --json"]
    assert [unknown_part(app, span) for span in spans] == ["--fit", "fly", "--frobnicate", "LF_HOUSE", "/dance", None]


def test_every_answer_holds_what_the_evaluation_looks_for(intents: tuple[Intent, ...]) -> None:
    assert [intent.id for intent in intents if intent.expected not in intent.answer] == []


def test_answers_are_short_and_plain(intents: tuple[Intent, ...]) -> None:
    odd = [i.id for i in intents if not i.answer.isascii() or len(i.answer) > 220 or i.answer.count("`") % 2]
    assert odd == []


def test_no_heldout_question_can_be_made_from_the_training_templates(intents: tuple[Intent, ...]) -> None:
    made = [(question, intent.id) for intent in intents for question in intent.heldout if intent.trains(question)]
    assert made == []


def test_no_fresh_question_can_be_made_from_the_training_templates(intents: tuple[Intent, ...]) -> None:
    import yaml

    by_id = {intent.id: intent for intent in intents}
    fresh = yaml.safe_load((ROOT / "tools/starter/fresh.yaml").read_text(encoding="utf-8"))
    assert [q for name, questions in fresh.items() for q in questions if by_id[name].trains(q)] == []


def test_a_template_matches_what_it_expands_to(intents: tuple[Intent, ...]) -> None:
    import random

    rng = random.Random(3)  # noqa: S311 - reproducible on purpose
    missed = []
    for intent in intents:
        question = intent.question(rng)
        if not intent.trains(question):
            missed.append((intent.id, question))
    assert missed == []


def test_no_question_is_held_out_for_two_intents(intents: tuple[Intent, ...]) -> None:
    from grammar import normalize

    questions = [normalize(question) for intent in intents for question in intent.heldout]
    assert sorted(questions) == sorted(set(questions))


def test_what_ships_is_small_and_holds_every_format() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= MAX_SHIPPED_BYTES
    data = {path.relative_to(SHIPPED).as_posix() for path in files} - {"__init__.py", "README.md"}
    assert data == {file.path for variant in find_starter().variants for file in variant.files} | {*TEST_FILES.values()}


def find_starter() -> Model:
    """The catalog's entry."""
    models = parse_catalog((ROOT / "catalog.yaml").read_text(encoding="utf-8"))
    return next(model for model in models if model.name == "starter")


def test_the_catalog_has_the_size_and_digest_of_every_file_that_ships() -> None:
    for file in (file for variant in find_starter().variants for file in variant.files):
        content = (SHIPPED / file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256), file.path


def test_the_catalog_has_the_shape_of_what_ships() -> None:
    model, path = find_starter(), SHIPPED / "gguf/starter-q4_0.gguf"
    with path.open("rb") as file:
        header = read_header(file, path.stat().st_size)
    shape, group = model.architecture, model.architecture.kv_groups[0]
    assert {
        "block_count": shape.layers,
        "embedding_length": shape.hidden_size,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": group.kv_heads,
        "context_length": shape.context_tokens,
        "vocab_size": shape.vocab_size,
    }.items() <= {key.removeprefix("llama."): value for key, value in header.metadata.items()}.items()
    assert sum(math.prod(tensor.shape) for tensor in header.tensors) == model.parameters
