"""Answers that are held to a schema, an expression or a grammar, in the real engines with tiny real models."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import GREEDY, Engine, ask
from tests.fixtures.scripted import render, split_reply

from localfirst.backends.base import LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.conversation import Constraint, Sampling
from localfirst.errors import ConstraintError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

    Opened = Callable[..., AbstractContextManager[LoadedModel]]

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
SCHEMA = Constraint("json_schema", json.dumps(PERSON))
COLOUR = Constraint("json_schema", '{"enum": ["red", "green"]}')
HELD = [
    pytest.param(COLOUR, '"(red|green)"', id="schema"),
    pytest.param(Constraint("regex", "[0-9]{3}/(x|y)"), "[0-9]{3}/(x|y)", id="regex"),
    pytest.param(Constraint("lark", 'start: "yes" | NO\nNO: /no+/ "!"\n'), "yes|no+!", id="lark"),
    pytest.param(Constraint("gbnf", 'root ::= "yes" | no\nno ::= "no" [!?]\n'), "yes|no[!?]", id="gbnf"),
]
REFUSED = [
    pytest.param(Constraint("json_schema", '{"type": "nonsense"}'), "nonsense", id="schema"),
    pytest.param(Constraint("regex", "("), "clos", id="regex"),
    pytest.param(Constraint("lark", "start: nowhere"), "nowhere", id="lark"),
    pytest.param(Constraint("gbnf", "root ::= nowhere"), "nowhere|grammar", id="gbnf"),
]


REASONS = {"litert": "litert-lm takes them in conversations alone, and allows no space then (its issue 3510)"}
"""Why an engine holds no answer, where it could."""


def require(model: LoadedModel, constraint: Constraint) -> None:
    if constraint.kind not in model.info.constraints:
        pytest.skip(REASONS.get(model.info.backend, f"{model.info.engine} has nothing for it here"))


@pytest.mark.parametrize(("constraint", "pattern"), HELD)
def test_a_model_that_would_say_something_else_is_held_to_the_constraint(
    model: LoadedModel, constraint: Constraint, pattern: str
) -> None:
    require(model, constraint)
    reply = ask(model, render("hi"), max_tokens=60, constraint=constraint)
    assert re.fullmatch(pattern, reply.text)
    assert reply.end.finish_reason == "stop"
    assert ask(model, render("hi")).text == TEXT  # and is free again afterwards


def test_noise_under_a_schema_is_json_that_fits_it(noise: LoadedModel) -> None:
    require(noise, SCHEMA)
    for seed in range(8):
        reply = ask(noise, render("hi"), Sampling(temperature=1.0, seed=seed), constraint=SCHEMA)
        value = json.loads(reply.text)
        assert reply.end.finish_reason == "stop"
        assert list(value) == ["name", "age", "tags"]
        assert len(value["name"]) <= 8
        assert value["age"] in range(121)
        assert set(value["tags"]) <= {"a", "b"}


def test_the_same_seed_gives_the_same_answer_under_a_constraint(noise: LoadedModel) -> None:
    require(noise, SCHEMA)
    one, again, other = (
        ask(noise, render("hi"), Sampling(temperature=5.0, seed=seed), constraint=SCHEMA).text for seed in (1, 1, 2)
    )
    assert one == again != other


def test_sampling_options_that_leave_no_allowed_token_do_not_break_the_constraint(
    engine: Engine, model: LoadedModel
) -> None:
    require(model, COLOUR)
    asked = {"top_k": 1, "top_p": 0.1, "min_p": 0.9, "repetition_penalty": 1.2}
    sampling = Sampling(1.0, seed=1, **{name: value for name, value in asked.items() if name not in engine.lacks})
    assert json.loads(ask(model, render("hi"), sampling, constraint=COLOUR).text) in {"red", "green"}


@pytest.mark.parametrize(("constraint", "says"), REFUSED)
def test_a_constraint_that_the_engine_refuses_is_an_error_before_any_piece(
    model: LoadedModel, constraint: Constraint, says: str
) -> None:
    require(model, constraint)
    with pytest.raises(ConstraintError) as raised:
        ask(model, render("hi"), constraint=constraint)
    assert re.search(says, raised.value.detail or "")
    assert ask(model, render("hi")).text == TEXT


def test_a_cut_off_answer_under_a_constraint_says_why(noise: LoadedModel) -> None:
    require(noise, SCHEMA)
    reply = ask(noise, render("hi"), Sampling(temperature=1.0, seed=1), max_tokens=3, constraint=SCHEMA)
    assert (reply.end.finish_reason, reply.end.usage.completion_tokens) == ("length", 3)


def test_a_held_answer_has_its_times_and_its_prompt_read_once(noise: LoadedModel) -> None:
    require(noise, SCHEMA)
    prompt = render("a" * 200)
    reply = ask(noise, prompt, Sampling(temperature=1.0, seed=1), constraint=SCHEMA)
    assert reply.end.usage.prompt_tokens == len(noise.tokenize(prompt))
    assert reply.end.usage.cached_tokens < 100
    assert reply.end.prefill_s
    assert reply.end.decode_s


def test_a_held_answer_can_be_cancelled(model: LoadedModel) -> None:
    endless = Constraint("regex", "(on|and)+!") if "regex" in model.info.constraints else COLOUR
    require(model, endless)
    reply = ask(model, render("hi"), constraint=endless, cancelled=lambda: True)
    assert reply.end.finish_reason == "cancelled"


def test_what_was_read_and_said_under_a_constraint_changes_no_later_answer(noise: LoadedModel) -> None:
    require(noise, SCHEMA)
    sampling = replace(GREEDY)
    before = ask(noise, render("hi", "there", "you"), sampling, max_tokens=20).text
    held = ask(noise, render("hi"), Sampling(temperature=1.0, seed=3), constraint=SCHEMA).text
    assert ask(noise, render("hi", held, "you"), sampling, max_tokens=20).text
    assert ask(noise, render("hi", "there", "you"), sampling, max_tokens=20).text == before


def test_a_special_token_is_written_out_where_it_is_asked_for(engine: Engine, opened: Opened, tmp_path: Path) -> None:
    if engine.backend in {"llama-server", "llamafile"}:
        pytest.skip("server programs are not asked for special tokens")
    chunks = split_reply("before it")
    engine.make(tmp_path / engine.file_name, reply_tokens=(chunks[0], b"<|system|>", *chunks[1:]))
    with opened(tmp_path / engine.file_name) as loaded:
        plain = ask(loaded, render("hi")).text
        shown = ask(loaded, render("hi"), special=("<|system|>", "<no-such-token>")).text
    assert plain == "before it"
    assert shown == "before<|system|> it"


def test_requests_at_the_same_time_have_a_constraint_each(engine: Engine, random_path: Path) -> None:
    if not engine.batches:
        pytest.skip("computes one request after the other, or has nothing for it")
    options = LoadOptions(None, threads=2, requests=3)

    def run(number: int) -> str:
        constraint = SCHEMA if number % 3 else Constraint("regex", "(")
        try:
            return ask(model, render(f"hi {number}"), Sampling(1.0, seed=number), constraint=constraint).text
        except ConstraintError as error:
            return str(error.detail)

    with closing(make_backend(engine.backend).load(ModelFiles(str(random_path)), options)) as model:
        require(model, SCHEMA)
        with ThreadPoolExecutor(3) as pool:
            said = list(pool.map(run, range(9)))
    for number, text in enumerate(said):
        assert list(json.loads(text)) == ["name", "age", "tags"] if number % 3 else "unclosed group" in text
