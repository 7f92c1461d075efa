"""`/metrics` and what `/v1/models` says, of a real server."""

from __future__ import annotations

import re
from contextlib import closing

from tests.conftest import Lf
from tests.contract.server.test_serving_faults import HI, LONG, ask, start_endless, try_shortly
from tests.fixtures.serving import Server, serving

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(server: Server) -> Metrics:
    response = server.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(response.text)


def parse(text: str) -> Metrics:
    """Each line is one that Prometheus' format has, each name is explained before, none is there twice."""
    found: Metrics = {}
    explained: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in explained
            explained[name] = kind
        elif not line.startswith("# HELP "):
            match = LINE.fullmatch(line)
            assert match, line
            name = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert name in explained or match[1] in explained
            key = (match[1], frozenset(LABEL.findall(match[2] or "")))
            assert key not in found
            found[key] = float(match[3])
    return found


def get(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.get((name, frozenset(labels.items())), 0)


def test_what_was_done_is_counted_by_model_and_route(served_home: Lf) -> None:
    with serving(served_home) as server:
        before = read(server)
        assert get(before, "lf_models_loaded") == 0
        usage = server.client.chat.completions.create(model="greeter", messages=HI).usage
        ask(server)
        tokens = server.client.embeddings.create(model="embedder", input=["one text", "another"]).usage.prompt_tokens
        server.post("/v1/chat/completions", {"model": "secret-name", "messages": HI})
        server.get("/secret/path")
        after = read(server)
        route = "/v1/chat/completions"
        assert get(after, "lf_requests_total", route=route, status="200") == 2
        assert get(after, "lf_requests_total", route=route, status="404") == 1
        assert get(after, "lf_requests_total", route="other", status="404") == 1
        assert get(after, "lf_requests_total", route="/metrics", status="200") == 1
        assert get(after, "lf_prompt_tokens_total", model="greeter") == 2 * usage.prompt_tokens
        assert get(after, "lf_completion_tokens_total", model="greeter") == 2 * usage.completion_tokens
        assert get(after, "lf_prompt_tokens_total", model="embedder") == tokens
        assert get(after, "lf_decode_seconds_total", model="greeter") > 0
        assert get(after, "lf_time_to_first_token_seconds_count", model="greeter") == 2
        assert get(after, "lf_time_to_first_token_seconds_bucket", model="greeter", le="+Inf") == 2
        assert get(after, "lf_time_to_first_token_seconds_sum", model="greeter") > 0
        assert get(after, "lf_models_loaded") == 2
        memory = {dict(labels)["model"]: value for (name, labels), value in after.items() if "memory" in name}
        assert memory.keys() == {"greeter", "embedder"}
        assert min(memory.values()) > 0
        assert "secret" not in server.get("/metrics").text


def test_who_waits_and_who_is_answered_is_told(served_home: Lf) -> None:
    with serving(served_home, *LONG) as server, closing(start_endless(server)):
        assert get(read(server), "lf_requests_active") == 1
        assert get(read(server), "lf_requests_waiting") == 0
        try_shortly(server)
        assert server.get("/v1/models/endless").json()["state"] == "answering"


def test_where_there_is_a_key_metrics_want_it(served_home: Lf) -> None:
    served_home.environment["LF_API_KEY"] = "a-key-of-some-length"
    try:
        with serving(served_home) as server:
            assert server.get("/metrics").status_code == 401
            shown = {"Authorization": "Bearer a-key-of-some-length"}
            assert server.get("/metrics", headers=shown).status_code == 200
    finally:
        del served_home.environment["LF_API_KEY"]


def test_models_are_listed_with_what_they_are_and_how_they_are_loaded(served_home: Lf) -> None:
    with serving(served_home) as server:
        before = server.get("/v1/models/greeter").json()
        assert (before["state"], before["runtime"], before["device"]) == ("not_loaded", "llama-cpu", None)
        assert before["context_length"] > 0
        assert before["quantization"]
        ask(server)
        after = server.get("/v1/models/greeter").json()
        assert (after["state"], after["device"]) == ("idle", "CPU")
        assert after["runtime"].startswith("llama")
        starter = next(one for one in server.get("/v1/models").json()["data"] if one["id"] == "starter")
        assert (starter["vendor"], starter["license"], starter["quantization"]) == ("localfirst", "apache-2.0", "Q4_0")
