"""What clients of others were seen to do with `lf serve`, as a table for people.

pytest tests/contract/server -k "client or openai" --client-table docs/clients.md
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.fixtures.result_table import Place, Results, describe_machine, render_table, say

if TYPE_CHECKING:
    import pytest

COMMAND = 'pytest tests/contract/server -k "client or openai" --client-table docs/clients.md'
JAVASCRIPT = Path(__file__).parent / "js/package.json"


class Client(NamedTuple):
    """A client, or one of its ways to ask: a column."""

    head: str
    modules: tuple[str, ...]
    """Whose tests are its tests: all, or those of a class, or those whose parameter `client` it is."""
    packages: tuple[str, ...]
    about: str


CLIENTS = (
    Client("`openai`", ("test_openai_client",), ("openai",), "Python, by `/v1/chat/completions` and the older routes"),
    Client("`openai`, Responses", ("test_openai_responses",), ("openai",), "Python, by `/v1/responses`"),
    Client("`openai` in JavaScript", ("test_js_clients openai",), ("js openai",), "in Node"),
    Client("AI SDK", ("test_js_clients ai-sdk",), ("js ai", "js @ai-sdk/openai-compatible"), "Vercel's, in JavaScript"),
    Client(
        "LangChain",
        ("test_langchain_client TestChat", "test_langchain_client TestEmbeddings"),
        ("langchain-openai", "langchain-tests"),
        "its own standard tests, by `/v1/chat/completions`",
    ),
    Client(
        "LangChain, Responses",
        ("test_langchain_client TestResponses",),
        ("langchain-openai", "langchain-tests"),
        "the same by `/v1/responses`",
    ),
    Client("`llm`", ("test_llm_client",), ("llm",), "the command, with `extra-openai-models.yaml`"),
    Client("`anthropic`", ("test_anthropic_client",), ("anthropic",), "Python, by `/v1/messages`"),
    Client("`ollama`", ("test_ollama_client",), ("ollama",), "Python, by `/api`"),
    Client(
        "Schemathesis",
        ("test_openai_schema",),
        ("schemathesis", "openai"),
        "requests drawn from the types of `openai`, and answers held to them",
    ),
)
FEATURES = (
    (
        "an answer, with its counts",
        r"counts|counted|invoke|batch|usage|prompt is answered|starter|honoured is answered",
    ),
    ("a conversation goes on", r"conversation|what is kept|message with name"),
    ("stop strings and maxima end an answer", r"stop|cut off|full context|options"),
    ("an answer is streamed", r"stream|own stream"),
    ("a stream that is broken off makes place for the next", r"broken off|stream that is closed"),
    ("several answers, by seeds", r"several answers|of several"),
    ("texts are continued", r"continued|or raw"),
    ("texts become vectors", r"vectors|embed"),
    ("thinking is told apart", r"thinking|thought"),
    ("an answer is held to a schema", r"held to a schema|structured output|json mode"),
    ("a tool is called and its result read", r"tool|call|agent|results find|anthropic inputs|few shot"),
    ("a tool call can be required", r"be required|tool choice|choice of a tool"),
    ("images, sound and PDFs", r"image|audio|pdf"),
    ("models are listed and shown", r"models are listed|GET"),
    ("what cannot be honoured is refused by its name", r"refused"),
    ("errors are of the client's types", r"^errors|an error|too long|not asked for|models on this disk"),
    ("a key is shown", r"\bkey\b"),
)
"""Rows, and what the names of their tests have; the last row that fits is a test's."""
ELSE = "what else its tests ask"
LEFT_OUT = frozenset({"no overrides DO NOT OVERRIDE", "stream time"})
"""Of LangChain's tests: the one that looks at the others, and the one that measures the client on a recording."""


def find_place(item: pytest.Item) -> Place | None:
    """Which feature and client a case is about, if any."""
    named = item.callspec.params if hasattr(item, "callspec") else {}
    group = getattr(item, "cls", None) and item.cls.__name__  # type: ignore[attr-defined]
    part = " ".join(word for word in (item.path.stem, group or named.get("client")) if word)
    text = named["name"] if "client" in named else say(item.originalname)  # type: ignore[attr-defined]
    heads = [client.head for client in CLIENTS if part in client.modules]
    return Place(find_feature(text), heads[0]) if heads and text not in LEFT_OUT else None


def find_feature(text: str) -> str:
    """The row of a test, by its name."""
    return next((row for row, words in reversed(FEATURES) if re.search(words, text)), ELSE)


def find_version(package: str) -> str:
    """A package with the version of it that is run."""
    name = package.removeprefix("js ")
    if name == package:
        return f"`{package}` {version(package)}"
    return f"`{name}` {json.loads(JAVASCRIPT.read_text(encoding='utf-8'))['dependencies'][name]}"


def describe(client: Client) -> str:
    """A client in a line."""
    return f"* {client.head}: {', '.join(map(find_version, client.packages))}; {client.about}"


def render(results: Results) -> str:
    """The whole page."""
    clients = [client for client in CLIENTS if any(place.column == client.head for place in results)]
    rows = [row for row in (*(row for row, _ in FEATURES), ELSE) if any(place.row == row for place in results)]
    return "\n".join(
        [
            "# What clients of others do with `lf serve`",
            "",
            "Packages as they are published, against a real server with real engines on small real models. Written by",
            "",
            f"    {COMMAND}",
            "",
            f"on {describe_machine()}. `yes` means that all tests of that row passed. Where a field is empty there is",
            "none: the client has nothing of the kind, or another column shows it.",
            "",
            *map(describe, clients),
            "",
            render_table(results, rows, {client.head: client.head for client in clients}),
        ]
    )
