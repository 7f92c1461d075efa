"""Clients that fetch and remove models, where a server lets them: Ollama's, from a hub on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import ollama
import pytest
from tests.conftest import Lf
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_gguf
from tests.fixtures.serving import Server, serving, wait_until

REPLY = "Fetched by a client, and answering."
NAME = "smollm2-360m"
IN_STREAM = -1
"""What Ollama's client has for the status of an error that a stream ends with."""
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    make_gguf(tmp_path / "model.gguf", REPLY)
    content = (tmp_path / "model.gguf").read_bytes()
    with Hub() as running:
        running.add_repo("HuggingFaceTB/SmolLM2-360M-Instruct-GGUF", {"smollm2-360m-instruct-q8_0.gguf": content})
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


@pytest.fixture
def server(lf: Lf, hub: Hub) -> Iterator[Server]:
    with serving(lf, "--allow-manage") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[ollama.Client]:
    with ollama.Client(server.root, timeout=60) as client:
        yield client


def test_a_client_fetches_a_model_asks_it_and_removes_it(server: Server, client: ollama.Client) -> None:
    told = list(client.pull(NAME, stream=True))
    assert (told[0].status, told[-1].status) == ("pulling manifest", "success")
    counted = [one for one in told if one.total]
    assert counted[-1].completed == counted[-1].total
    assert client.chat(NAME, HI, options={"temperature": 0}).message.content == REPLY
    assert client.pull(NAME).status == "success"
    client.delete(NAME)
    assert not any(one.model.startswith(NAME) for one in client.list().models)
    with pytest.raises(ollama.ResponseError) as raised:
        client.delete(NAME)
    assert raised.value.status_code == 404
    wait_until(lambda: not server.find_workers())


def test_who_leaves_a_download_ends_it_and_the_next_one_goes_on(
    server: Server, client: ollama.Client, hub: Hub
) -> None:
    hub.fail("stall", at=2000, times=1, seconds=1.0)
    with httpx2.stream("POST", f"{server.root}/api/pull", json={"model": NAME}, trust_env=False, timeout=30) as told:
        lines = told.iter_lines()
        next(line for line in lines if json.loads(line).get("completed"))
    assert client.pull(NAME).status == "success"


@pytest.mark.parametrize("name", ["/etc/passwd", "./model.gguf", "remote:http://127.0.0.1:1/v1", "no-such-model", "~"])
def test_nothing_but_models_by_their_names_is_fetched(client: ollama.Client, name: str) -> None:
    with pytest.raises(ollama.ResponseError) as raised:
        client.pull(name)
    assert raised.value.status_code in {400, 404}
    with pytest.raises(ollama.ResponseError) as raised:
        list(client.pull(name, stream=True))
    assert raised.value.status_code in {400, 404, IN_STREAM}


def test_what_the_hub_does_not_have_is_said(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as raised:
        list(client.pull("phi-4-mini", stream=True))
    assert (raised.value.status_code, bool(raised.value.error)) == (IN_STREAM, True)
