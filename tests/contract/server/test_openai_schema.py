"""Requests that Schemathesis draws from OpenAI's types, against a real `lf serve` with real engines.

See `openai_types.py`. The examples are the same in every run: what they show is a change's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from pydantic import TypeAdapter
from schemathesis import BaseSchema, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance
from tests.contract.server.openai_types import ROUTES, Route, describe
from tests.fixtures.serving import Server

CHECKS = [not_a_server_error, response_schema_conformance]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
POSTS = [route for route in ROUTES if route.asked is not None]


@cache
def load(*, narrow: bool, stream: bool = False) -> BaseSchema:
    return schemathesis.openapi.from_dict(describe(narrow=narrow, stream=stream))


def draw(route: Route, mode: GenerationMode = GenerationMode.POSITIVE, **described: bool) -> SearchStrategy[Case]:
    return load(**described)[route.path][route.method].as_strategy(generation_mode=mode)


def fixed(examples: int) -> settings:
    return settings(max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW)


def name(route: Route) -> str:
    return f"{route.method.upper()} {route.path}"


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_what_is_honoured_is_answered_as_the_types_have_it(
    server: Server, session: requests.Session, route: Route
) -> None:
    @fixed(20)
    @given(case=draw(route, narrow=True))
    def ask(case: Case) -> None:
        answer = case.call_and_validate(base_url=server.url, session=session, checks=CHECKS)
        assert answer.status_code == 200, answer.text

    ask()


@pytest.mark.parametrize("route", [route for route in POSTS if route.event], ids=name)
def test_every_event_of_a_stream_is_as_the_types_have_it(
    server: Server, session: requests.Session, route: Route
) -> None:
    event = TypeAdapter(route.event)

    @fixed(10)
    @given(case=draw(route, narrow=True, stream=True))
    def ask(case: Case) -> None:
        answer = session.post(server.url + route.path, json=case.body)  # of a stream, Schemathesis reads 20 events
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        lines = answer.text.split("\n")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        *events, end = data
        assert end == "[DONE]" if route.path != "/responses" else json.loads(end)["type"] == "response.completed"
        for one in events:
            event.validate_json(one, strict=True)

    ask()


@pytest.mark.parametrize("route", POSTS, ids=name)
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_whatever_is_asked_is_answered_or_refused(
    server: Server, session: requests.Session, route: Route, mode: GenerationMode
) -> None:
    @fixed(30)
    @given(case=draw(route, mode, narrow=False))
    def ask(case: Case) -> None:
        case.call_and_validate(base_url=server.url, session=session, checks=CHECKS)

    ask()
