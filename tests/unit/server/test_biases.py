"""Biases as OpenAI has them: ids of tokens, and what is added to their logits."""

from __future__ import annotations

from typing import Any

import pytest

from localfirst.backends.base import LoadedInfo
from localfirst.server.asked import CERTAIN, MOST_BIASES, Manner, parse_biases
from localfirst.server.failures import ParameterError, tell
from localfirst.server.ollama.chat import parse_chat

INFO = LoadedInfo("e", "engine", "1", 64, "CPU", "cpu", 1, None, lacks=("min_p", "logit_bias"), vocabulary_size=10)
ALL = LoadedInfo("e", "engine", "1", 64, "CPU", "cpu", 1, None, vocabulary_size=10)


def test_the_largest_biases_decide_and_others_are_as_they_are() -> None:
    assert parse_biases({"0": 100, "7": -100.0, "12": 0.5}, "b") == ((0, CERTAIN), (7, -CERTAIN), (12, 0.5))
    assert parse_biases(None, "b") == parse_biases({}, "b") == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "object of token ids"),
        ("1", "object of token ids"),
        ({"1": True}, "object of token ids"),
        ({"1": "5"}, "object of token ids"),
        ({"1": None}, "object of token ids"),
        ({"1": 100.5}, "between -100 and 100"),
        ({"1": -101}, "between -100 and 100"),
        ({"1": 10**400}, "between -100 and 100"),
        ({"": 1}, "where the id of a token belongs"),
        ({"-1": 1}, "where the id of a token belongs"),
        ({"01": 1}, "where the id of a token belongs"),
        ({"1.0": 1}, "where the id of a token belongs"),
        ({"٣": 1}, "where the id of a token belongs"),
        ({"9" * 5000: 1}, "where the id of a token belongs"),
        ({str(token): 1 for token in range(MOST_BIASES + 1)}, f"has {MOST_BIASES + 1} tokens"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_bias_is_refused(given: Any, says: str) -> None:
    with pytest.raises(ParameterError, match=says) as raised:
        parse_biases(given, "logit_bias")
    assert tell(raised.value).body["error"]["param"] == "logit_bias"


def test_a_manner_is_refused_by_the_name_that_its_dialect_has() -> None:
    Manner("m", {"min_p": 0.0, "logit_bias": (), "temperature": None}).check(INFO)
    with pytest.raises(ParameterError, match="`min_p` is not supported by engine") as raised:
        Manner("m", {"min_p": 0.1}).check(INFO)
    assert (raised.value.param, raised.value.kind) == ("min_p", "unsupported_parameter")
    with pytest.raises(ParameterError, match=r"`options\.min_p` is not supported") as raised:
        parse_chat({"model": "m", "options": {"min_p": 0.1}}).common.manner.check(INFO)
    assert raised.value.param == "options.min_p"


def test_a_token_that_a_model_has_not_is_refused() -> None:
    Manner("m", {"logit_bias": ((9, 1.0),)}).check(ALL)
    with pytest.raises(ParameterError, match="names the token 10; the model has 10") as raised:
        Manner("m", {"logit_bias": ((9, 1.0), (10, 1.0))}).check(ALL)
    assert raised.value.param == "logit_bias"


@pytest.mark.parametrize("tokens", [-1, 0, 7])
def test_penalties_look_at_so_many_tokens_as_ollamas_do(tokens: int) -> None:
    parse_chat({"model": "m", "options": {"repeat_last_n": 64, "repeat_penalty": 1.2}})
    parse_chat({"model": "m", "options": {"repeat_last_n": tokens, "repeat_penalty": 1}})
    with pytest.raises(ParameterError, match="has to be 64") as raised:
        parse_chat({"model": "m", "options": {"repeat_last_n": tokens, "presence_penalty": 0.5}})
    assert raised.value.param == "options.repeat_last_n"
