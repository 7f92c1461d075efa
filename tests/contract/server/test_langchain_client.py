"""LangChain's own standard tests over `langchain-openai`, against a real `lf serve` with real engines.

The tests are `langchain-tests`' own, unmodified. Those of images, sound and PDFs skip themselves, for `lf serve` reads
texts and says so; those that a model here cannot pass are switched off by a property of theirs, which tells the reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from tests.fixtures.serving import Server

pytestmark = [
    pytest.mark.anyio,
    # What the client warns itself of, with whatever server.
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What runs their asynchronous tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def connections(anyio_backend: str) -> AsyncIterator[dict[str, Any]]:
    """What their clients speak through: LangChain keeps its own for the life of a program, and leaves them open."""
    with httpx2.Client(trust_env=False) as client:
        async with httpx2.AsyncClient(trust_env=False) as async_client:
            yield {"http_client": client, "http_async_client": async_client}


@pytest.fixture
def benchmark() -> None:
    """Of their one test that measures."""
    pytest.skip("it measures the client on a recording of answers, and no server")


@pytest.fixture
def vcr() -> None:
    """The recording, which `benchmark` has skipped by then."""


class Connected:
    """Where the server is, for properties that cannot ask for a fixture."""

    @pytest.fixture(autouse=True)
    def connect(self, server: Server, connections: dict[str, Any]) -> None:
        self.connection = {"base_url": server.url, "api_key": "unused", "max_retries": 0, "timeout": 60, **connections}


class ChatTests(Connected, ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "agent", "temperature": 0, "stream_usage": True, **self.connection}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "greeter"


class TestChat(ChatTests):
    """A scripted model that makes the calls which their tests wait for, through `/v1/chat/completions`."""


class TestResponses(ChatTests):
    """The same through `/v1/responses`."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"use_responses_api": True}


class TestStarter(ChatTests):
    """The built-in model, a few megabytes that were trained on answers about this program."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"model": "starter"}

    @property
    def has_tool_calling(self) -> bool:
        """Its chat template has no place for tools, which is refused by saying so."""
        return False

    @property
    def supports_anthropic_inputs(self) -> bool:
        """They are conversations with calls of tools."""
        return False

    @property
    def has_structured_output(self) -> bool:
        """It is as large as its task: in a string of a schema it knows no end, and goes on to that of its context."""
        return False

    @property
    def supports_json_mode(self) -> bool:
        """As `has_structured_output`."""
        return False


class TestEmbeddings(Connected, EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[OpenAIEmbeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        # Else texts are sent as the tokens of an OpenAI model, whose vocabulary is fetched for it.
        return {"model": "embedder", "check_embedding_ctx_length": False, **self.connection}
