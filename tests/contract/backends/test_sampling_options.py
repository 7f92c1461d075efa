"""What every adapter promises of penalties and biases, on real engines, against numpy."""

from __future__ import annotations

import codecs
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import Engine, ask
from tests.fixtures import scripted
from tests.fixtures.scripted import network, render, split_reply
from tests.fixtures.scripted.embedding import find_states
from tests.fixtures.scripted.vocabulary import SPECIAL, byte_alphabet

from localfirst.conversation import Constraint, Sampling
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

SHAPE = scripted.Shape(layers=2, context=512)
VOCABULARY = scripted.Vocabulary(minimum_size=512)
PROMPT = "The second text, and the second."
TOKENS = 48
LOOP = (b"on ", b"and ")
LOGIT = network.LOGIT
"""Of the one token that a scripted model finds likely; that of all others is 0."""
BAN = 1e4


@pytest.fixture(scope="module")
def random_model(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    path = tmp_path_factory.mktemp(f"options-{engine.backend}") / engine.file_name
    engine.make_random(path, SHAPE)
    loaded = engine.load(path)
    yield loaded
    loaded.close()


def need(engine: Engine, *options: str) -> None:
    for name in options:
        if name in engine.lacks:
            pytest.skip(f"{engine.backend} has no {name}")


def expect_greedy(prompt: list[int], sampling: Sampling, penalty_tokens: int) -> str:
    """The answer, by the formulas of llama.cpp: `llama_sampler_penalties_apply` in `src/llama-sampler.cpp`."""
    weights = network.random_weights(SHAPE, VOCABULARY.size, seed=0)
    tokens, decoder, text = list(prompt), codecs.getincrementaldecoder("utf-8")("replace"), ""
    for _ in range(TOKENS):
        logits = (find_states(weights, SHAPE, tokens)[-1] @ weights["head"].T).astype(np.float64)
        for token, bias in sampling.logit_bias:
            logits[token] += bias
        for token, count in Counter(tokens[-penalty_tokens:]).items():
            factor = sampling.repetition_penalty or 1
            logits[token] = logits[token] / factor if logits[token] > 0 else logits[token] * factor
            logits[token] -= count * (sampling.frequency_penalty or 0) + (sampling.presence_penalty or 0)
        tokens.append(int(logits.argmax()))
        if tokens[-1] == scripted.END_ID:
            break
        if (spelled := VOCABULARY.tokens[tokens[-1]]) not in SPECIAL:
            text += decoder.decode(bytes(byte_alphabet().index(character) for character in spelled))
    return text


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.7},
        {"presence_penalty": 2.0},
        {"frequency_penalty": 0.5},
        {"frequency_penalty": -0.5, "presence_penalty": 1.0},
        {"repetition_penalty": 1.7, "presence_penalty": 0.5, "frequency_penalty": 0.25},
        {"logit_bias": ((65, 2.5), (300, -1.5))},
        {"logit_bias": ((65, 2.5),), "frequency_penalty": 1.0},
    ],
    ids=" ".join,
)
def test_penalties_and_biases_change_an_answer_as_their_formulas_say(
    engine: Engine, random_model: LoadedModel, options: dict
) -> None:
    need(engine, *options)
    if engine.backend == "bitnet":
        pytest.skip("its network is another one")
    sampling = Sampling(0, **options)
    prompt = random_model.tokenize(PROMPT)
    expected = expect_greedy(prompt, sampling, engine.penalty_tokens)
    assert expected != expect_greedy(prompt, Sampling(0), engine.penalty_tokens)
    assert ask(random_model, tuple(prompt), sampling, max_tokens=TOKENS).text == expected


def test_a_frequency_penalty_counts_every_time(engine: Engine, tmp_path: Path) -> None:
    need(engine, "frequency_penalty")
    if engine.backend == "bitnet":
        pytest.skip("its network is another one")
    engine.make(tmp_path / engine.file_name, reply_tokens=LOOP, loop=True)
    loaded = engine.load(tmp_path / engine.file_name)
    try:
        text = ask(loaded, render("hi"), Sampling(0, frequency_penalty=2.0), max_tokens=60).text
    finally:
        loaded.close()
    until = int(LOGIT / 2)  # of each; then as much is taken off as it had before all others, which is a little less
    assert text.startswith("on and " * until)
    assert not text.startswith("on and " * until + "on ")


def test_a_token_can_be_banned_and_another_be_forced(engine: Engine, model: LoadedModel) -> None:
    need(engine, "logit_bias")
    chunks = split_reply(TEXT)
    ids = scripted.Vocabulary(chunks).chunk_ids
    banned = ask(model, render("hi"), Sampling(0, logit_bias=((ids[0], -BAN),)), max_tokens=8)
    assert not banned.text.startswith(chunks[0].decode())
    forced = ask(model, render("hi"), Sampling(1.0, logit_bias=((ids[2], BAN),), seed=1), max_tokens=3)
    assert forced.text == chunks[2].decode() * 3
    assert ask(model, render("hi")).text == TEXT


def test_a_constraint_is_kept_whatever_is_banned(engine: Engine, model: LoadedModel) -> None:
    need(engine, "logit_bias")
    if "regex" not in model.info.constraints:
        pytest.skip("it holds no answer to a regular expression")
    held = Constraint("regex", "y|n")
    ban = {letter: (ord(letter), -BAN) for letter in "yn"}
    assert ask(model, render("hi"), Sampling(0, logit_bias=(ban["y"],)), constraint=held).text == "n"
    assert ask(model, render("hi"), Sampling(0, logit_bias=(ban["n"],)), constraint=held).text == "y"
    assert ask(model, render("hi"), Sampling(1.0, logit_bias=tuple(ban.values())), constraint=held).text in {"y", "n"}


def test_a_bias_of_a_token_that_the_model_has_not_is_refused(engine: Engine, model: LoadedModel) -> None:
    need(engine, "logit_bias")
    size = model.info.vocabulary_size
    assert size == scripted.Vocabulary(split_reply(TEXT)).size
    assert ask(model, render("hi"), Sampling(0, logit_bias=((size - 1, 1.0),))).text == TEXT
    with pytest.raises(UsageError, match=rf"`logit_bias` names the token {size}; the model has {size}"):
        ask(model, render("hi"), Sampling(0, logit_bias=((size, 1.0),)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_p", 0.5),
        ("repetition_penalty", 1.5),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("logit_bias", ((65, 1.0),)),
    ],
)
def test_an_option_that_the_engine_lacks_is_refused_by_its_name(
    engine: Engine, model: LoadedModel, name: str, value: object
) -> None:
    assert model.info.lacks == engine.lacks
    sampling = dataclasses.replace(Sampling(0), **{name: value})
    if name not in engine.lacks:
        assert ask(model, render("hi"), sampling).text == TEXT
        return
    with pytest.raises(UsageError, match=f"has no `{name}`"):
        ask(model, render("hi"), sampling)
    neutral = {"repetition_penalty": 1.0, "logit_bias": ()}.get(name, 0)
    assert ask(model, render("hi"), Sampling(0, **{name: neutral})).text == TEXT


def test_how_likely_tokens_were_is_told_or_refused(engine: Engine, model: LoadedModel) -> None:
    assert model.info.likeliest == engine.weighs
    if engine.weighs is not None:
        assert ask(model, render("hi"), likeliest=0).weighed
        return
    with pytest.raises(UsageError, match="does not tell here how likely its tokens were"):
        ask(model, render("hi"), likeliest=0)
    assert ask(model, render("hi")).text == TEXT
