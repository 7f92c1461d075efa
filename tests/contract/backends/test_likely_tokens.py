"""What every adapter promises of how likely the tokens of an answer were, on real engines, against numpy."""

from __future__ import annotations

import codecs
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.contract.backends.conftest import TEXT
from tests.contract.backends.engines import Engine, Reply, ask
from tests.fixtures import scripted
from tests.fixtures.scripted import network, render, split_reply
from tests.fixtures.scripted.embedding import find_states
from tests.fixtures.scripted.vocabulary import SPECIAL, byte_alphabet

from localfirst.conversation import Constraint, Likely, Sampling
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

    Opened = Callable[..., AbstractContextManager[LoadedModel]]

SHAPE = scripted.Shape(layers=2, context=512)
VOCABULARY = scripted.Vocabulary(minimum_size=512)
PROMPT = "The second text is longer, 12345."
TOKENS = 16
WHOLE = tuple((byte, -1e4) for byte in range(128, 256))
"""Bans what is only a part of a character."""
NEAR = 3e-4
"""How near to numpy those engines are that score no text."""


@pytest.fixture(scope="module")
def model(engine: Engine, scripted_path: Path) -> Iterator[LoadedModel]:
    loaded = engine.load(scripted_path)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def random_model(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    path = tmp_path_factory.mktemp(f"likely-{engine.backend}") / engine.file_name
    engine.make_random(path, SHAPE)
    loaded = engine.load(path)
    yield loaded
    loaded.close()


@pytest.fixture(autouse=True)
def need_likely(engine: Engine) -> None:
    """Skip where there is nothing to test; that this is said to who asks is tested with the other options."""
    if engine.weighs is None:
        pytest.skip("it tells of no token of an answer how likely it was")


def draw(engine: Engine, model: LoadedModel, likeliest: int | None, **options: object) -> Reply:
    """An answer of whole characters, so that all of its tokens are told."""
    biases = {} if "logit_bias" in engine.lacks else {"logit_bias": WHOLE}
    sampling = Sampling(**{"temperature": 1.0, "seed": 3, **biases, **options})
    return ask(model, tuple(model.tokenize(PROMPT)), sampling, max_tokens=TOKENS, likeliest=likeliest)


def spell(token: int) -> bytes:
    text = VOCABULARY.tokens[token]
    return text.encode() if text in SPECIAL else bytes(byte_alphabet().index(character) for character in text)


def check(engine: Engine, model: LoadedModel, reply: Reply, likeliest: int) -> None:
    """The tokens of an answer are those of its text, and each and all others are as likely as its network says."""
    near = engine.scores or NEAR
    ids = [one.drawn.token for one in reply.weighed]
    shown = b"".join(spell(token) for token in ids if VOCABULARY.tokens[token] not in SPECIAL)
    assert reply.text == codecs.getincrementaldecoder("utf-8")("replace").decode(shown)
    if engine.backend == "bitnet":
        return  # whose network is another one
    prompt = model.tokenize(PROMPT)
    weights = network.random_weights(SHAPE, VOCABULARY.size, seed=0)
    logits = (find_states(weights, SHAPE, [*prompt, *ids]) @ weights["head"].T).astype(np.float64)
    scores = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[len(prompt) - 1 :]
    for one, row in zip(reply.weighed, scores, strict=False):
        assert abs(one.drawn.log_prob - row[one.drawn.token]) < near
        assert len(one.likeliest) == likeliest
        chances = [other.log_prob for other in one.likeliest]
        assert chances == sorted(chances, reverse=True)
        assert np.abs(np.sort(row)[::-1][:likeliest] - chances).max(initial=0) < near
        for other in (one.drawn, *one.likeliest):
            assert abs(row[other.token] - other.log_prob) < near
            check_spelling(engine, other)


def check_spelling(engine: Engine, one: Likely) -> None:
    names_special = engine.script is None and engine.backend != "llamafile"
    if VOCABULARY.tokens[one.token] not in SPECIAL or names_special:
        assert one.spelled == tuple(spell(one.token))
    else:
        assert one.spelled == ()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {},
        {"temperature": 2.5, "seed": 5},
        {"top_k": 3},
        {"repetition_penalty": 1.5, "temperature": 0.0},
        {"frequency_penalty": 1.0, "presence_penalty": 1.0, "temperature": 0.0},
    ],
    ids=["greedy", "drawn", "hot", "of three", "penalized", "penalized otherwise"],
)
def test_the_tokens_of_an_answer_are_as_likely_as_the_network_says_however_they_are_drawn(
    engine: Engine, random_model: LoadedModel, options: dict
) -> None:
    if lacking := options.keys() & set(engine.lacks):
        pytest.skip(f"{engine.backend} has no {min(lacking)}")
    assert random_model.info.likeliest == engine.weighs
    reply = draw(engine, random_model, engine.weighs, **options)
    check(engine, random_model, reply, engine.weighs)
    assert 0 < len(reply.weighed) <= TOKENS


@pytest.mark.parametrize("likeliest", [None, 0, 3])
def test_as_many_of_the_likeliest_are_told_as_were_asked_for(
    engine: Engine, random_model: LoadedModel, likeliest: int | None
) -> None:
    if (likeliest or 0) > engine.weighs:
        pytest.skip(f"{engine.backend} tells of no other token")
    reply = draw(engine, random_model, likeliest)
    if likeliest is None:
        assert reply.weighed == ()
    else:
        check(engine, random_model, reply, likeliest)


def test_telling_how_likely_tokens_were_changes_no_answer(engine: Engine, model: LoadedModel) -> None:
    plain, told = ask(model, render("hi")), ask(model, render("hi"), likeliest=0)
    assert (told.text, told.pieces, told.end.usage.completion_tokens) == (
        plain.text,
        plain.pieces,
        plain.end.usage.completion_tokens,
    )
    assert [bytes(one.drawn.spelled) for one in told.weighed] == list(split_reply(TEXT))
    assert all(abs(one.drawn.log_prob) < 1e-3 for one in told.weighed)


def test_tokens_of_a_stop_string_are_not_told(engine: Engine, model: LoadedModel) -> None:
    reply = ask(model, render("hi"), stop=("there! The",), likeliest=engine.weighs)
    assert (reply.text, reply.end.stopped_by) == ("Hello ", "there! The")
    assert [bytes(one.drawn.spelled) for one in reply.weighed] == [b"Hello", b" there!"]  # whose space is shown
    begun = ask(model, render("hi"), stop=("nd stops.?",), likeliest=0)
    assert begun.text == TEXT
    assert b"".join(bytes(one.drawn.spelled) for one in begun.weighed) == TEXT.encode()


def test_tokens_that_end_inside_a_character_are_told_where_the_engine_tells_of_them(
    engine: Engine, opened: Opened, tmp_path: Path
) -> None:
    chunks = (b"a\xf0\x9f", b"\x98", b"\x80 Gr\xc3", b"\xbc!", b"end")
    engine.make(tmp_path / engine.file_name, reply_tokens=chunks)
    with opened(tmp_path / engine.file_name) as loaded:
        reply = ask(loaded, render("hi"), likeliest=engine.weighs)
    assert reply.text == "a😀 Grü!end"
    told = [bytes(one.drawn.spelled) for one in reply.weighed]
    assert told == list(chunks if engine.weighs_parts else chunks[3:])


def test_more_than_the_engine_tells_is_refused(engine: Engine, model: LoadedModel) -> None:
    with pytest.raises(UsageError, match=rf"does not tell here how likely more than {engine.weighs} others"):
        ask(model, render("hi"), likeliest=engine.weighs + 1)


def test_a_held_answer_is_told_as_it_was_before_it_was_held(engine: Engine, model: LoadedModel) -> None:
    if "regex" not in model.info.constraints:
        pytest.skip("it holds no answer to a regular expression")
    (one,) = ask(model, render("hi"), constraint=Constraint("regex", "y"), likeliest=engine.weighs).weighed
    assert bytes(one.drawn.spelled) == b"y"
    if engine.backend != "bitnet":
        assert one.drawn.log_prob == pytest.approx(-network.LOGIT, abs=0.05)
    if engine.weighs:
        assert bytes(one.likeliest[0].spelled) == split_reply(TEXT)[0]


def test_requests_at_the_same_time_are_told_of_their_own_tokens(engine: Engine, tmp_path: Path) -> None:
    if not engine.batches:
        pytest.skip("it computes one request at a time")
    engine.make_random(tmp_path / engine.file_name, SHAPE)
    loaded = engine.load(tmp_path / engine.file_name, requests=3)
    try:
        with ThreadPoolExecutor(3) as pool:
            replies = list(pool.map(lambda seed: draw(engine, loaded, 3, seed=seed), range(6)))
        assert len({reply.text for reply in replies}) == len(replies)
        for reply in replies:
            check(engine, loaded, reply, 3)
    finally:
        loaded.close()
