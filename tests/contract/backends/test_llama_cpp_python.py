"""What llama-cpp-python's adapter alone does: a need by llama.cpp's own account, caches that cannot be cut back."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.fit.gguf_file import write_gguf
from benchmarks.fit.networks import Network
from tests.contract.backends.conftest import SKIP, TEXT
from tests.contract.backends.engines import BINDINGS, ENGINES, GREEDY, ask
from tests.fixtures.scripted import Shape, make_gguf, make_random_gguf, render

from localfirst.backends.base import Finished, GenerateRequest, LoadOptions, ModelFiles
from localfirst.backends.llama_cpp.dry_run import parse_footprint
from localfirst.backends.registry import make_backend
from localfirst.conversation import Constraint, Sampling
from localfirst.errors import ConstraintError, NoFitError
from localfirst.paths import starter_dir

pytestmark = SKIP
STARTER = starter_dir() / "gguf/starter-q4_0.gguf"
MESSAGES = "<|user|>How do I list the models that fit this machine?<|end|><|assistant|>"


def load(path: Path, **options: object):
    return make_backend(BINDINGS.backend).load(ModelFiles(str(path)), LoadOptions(1024, threads=2, **options))


def test_the_starter_answers_as_by_xllamacpp() -> None:
    answers = []
    for engine in (ENGINES[0], BINDINGS):
        model = engine.load(STARTER)
        answers.append([ask(model, MESSAGES, one, max_tokens=64).text for one in (GREEDY, Sampling(0.8, 40, seed=3))])
        model.close()
    assert answers[0] == answers[1]
    assert all(answers[0])


@pytest.mark.parametrize("cache", ["f16", "q8_0", "q4_0"])
def test_a_quantized_cache_answers_too(cache: str) -> None:
    model = load(STARTER, cache=cache)
    assert ask(model, MESSAGES, max_tokens=16).text
    model.close()


def test_what_is_larger_than_its_budget_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    make_random_gguf(path, Shape(layers=2))
    model = load(path)
    need = model._engine.footprint
    assert need.weights_bytes < path.stat().st_size
    assert min(need) > 0
    _, _, log = model._engine._open(1024, LoadOptions(1024, threads=2), dry=False)
    assert parse_footprint(need.weights_bytes, log) == need, "the dry run was right"
    model.close()
    load(path, budget_bytes=need.total_bytes).close()
    with pytest.raises(NoFitError, match=r"needs .* of memory"):
        load(path, budget_bytes=need.total_bytes - 1)


NETWORKS = {
    "sliding window": Network("gemma3", 6, 128, 256, 2, 1, 64, 512, tied=True, window=128, window_period=6),
    "recurrent": Network("lfm2", 4, 128, 256, 2, 1, 64, 512, tied=True, attention_period=2, kernel=3),
}
FIRST = tuple(range(100, 400))
TURNS = {
    "goes on": (*FIRST, *range(50, 80)),
    "parts before the answer": (*FIRST[:-1], *range(50, 80)),
    "the same again": FIRST,
    "parts early": (*FIRST[:20], *range(50, 80)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def other_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("other") / "model.gguf"
    write_gguf(path, NETWORKS[request.param])
    return path


@pytest.mark.parametrize("prompt", TURNS.values(), ids=TURNS)
def test_what_cannot_be_cut_back_is_taken_from_a_copy(other_path: Path, prompt: tuple[int, ...]) -> None:
    drawing = Sampling(1.0, seed=5)
    model = load(other_path)
    ask(model, FIRST, drawing, max_tokens=40)
    second = ask(model, prompt, drawing, max_tokens=8)
    third = ask(model, prompt, drawing, max_tokens=8)
    model.close()
    model = load(other_path)
    fresh = ask(model, prompt, drawing, max_tokens=8)
    model.close()
    assert second.text == third.text == fresh.text
    assert third.end.usage.cached_tokens == len(prompt) - 1
    reused = second.end.usage.cached_tokens
    assert reused >= len(FIRST) - 1 if prompt[:299] == FIRST[:299] else reused == 0


BRACKETS = 20_000
GRAMMARS = {
    "brackets": f'root ::= {"(" * BRACKETS}"a"{")" * BRACKETS}',
    "empty": " ",
    "no root": 'other ::= "a"',
    "no token": 'root ::= <[99999999]> "a"',
    "no character": "root ::= [z-a]",
}
"""What llama.cpp's own grammars end the process at, take for no grammar at all, or find no token for."""


@pytest.mark.parametrize("grammar", GRAMMARS.values(), ids=GRAMMARS)
def test_a_grammar_that_is_none_is_refused_by_a_worker_that_lives(grammar: str) -> None:
    model = load(STARTER)
    if "gbnf" not in model.info.constraints:
        pytest.skip("llguidance is not beside it here")
    with pytest.raises(ConstraintError):
        ask(model, MESSAGES, constraint=Constraint("gbnf", grammar))
    assert ask(model, MESSAGES, max_tokens=4).text
    model.close()


def test_every_token_that_ends_an_answer_may_end_a_held_one(tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", "ha")
    model = load(tmp_path / "model.gguf")
    if "regex" not in model.info.constraints:
        pytest.skip("llguidance is not beside it here")
    ends = model._engine.list_ends()
    held = model._make_guide(Constraint("regex", "(ha)+"))
    assert len(ends) > 1
    assert not held.find_allowed()[ends].any()
    for token in model.tokenize("ha"):
        held.note(token)
    assert held.find_allowed()[ends].all()
    model.close()


def test_a_cancel_inside_a_part_of_the_prompt_leaves_a_model_that_answers(tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", TEXT)
    model = load(tmp_path / "model.gguf")
    flag = iter([False, True])
    *_, end = model.generate(GenerateRequest(render("a" * 900), GREEDY, cancelled=lambda: next(flag, True)))
    assert isinstance(end, Finished)
    assert end.finish_reason == "cancelled"
    assert ask(model, render("hi")).text == TEXT
    model.close()
