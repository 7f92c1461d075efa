"""Asks servers that are not ours: elsewhere, or started by somebody else. Nothing is started, nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.backends import limits
from localfirst.backends.base import Chunk, LoadedInfo, Started
from localfirst.backends.external import http, table
from localfirst.backends.external.answer import follow
from localfirst.backends.external.embeddings import embed
from localfirst.conversation import Embedding
from localfirst.errors import EngineError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.conversation import FinishReason, Message


class RemoteBackend:
    """A server elsewhere, or started by somebody else."""

    def list_devices(self) -> tuple[str, ...]:
        """None of ours."""
        return ()

    def describe_build(self) -> str:
        """It does not say."""
        return "a server that speaks OpenAI's dialect"

    def load(self, files: ModelFiles, options: LoadOptions) -> RemoteModel:
        """Ask the server at the address `files.main` which models it has, and take the one that is meant.

        Raises:
            UsageError: the address is none.
            NetworkError: there is no answer.
            UnknownNameError: it has no such model, or several where none was named.
            EngineError: it wants a key, or is no such server.
        """
        limits.refuse_batch("A server elsewhere", options.batch_tokens)
        address = http.parse_address(files.main, options.key)
        listed = http.ask(address, "/v1/models").get("data") or ()
        models = (
            {str(one.get("id")): one for one in listed if isinstance(one, dict)} if isinstance(listed, list) else {}
        )
        name = options.model or next(iter(models), None)
        if name is None or (options.model is None and len(models) > 1) or (models and name not in models):
            raise UnknownNameError(
                f"{address} has no model `{options.model}`" if options.model else f"{address} has {len(models)} models",
                detail="\n".join(sorted(models)) or None,
                hint=f"{'Name one of them' if models else 'Name one that it has'}: remote:{address}/v1@MODEL",
            )
        return RemoteModel(address, name, _find_context(models.get(name, {})) or options.context_tokens, options)


class RemoteModel(limits.ScoresNothing):
    """A model in a server that is not ours. It renders prompts itself, from the messages."""

    def __init__(self, address: http.Address, name: str, context_tokens: int | None, options: LoadOptions) -> None:
        self._address, self._name = address, name
        self.info = LoadedInfo(
            backend=table.REMOTE.name,
            engine=str(address),
            engine_version="unknown",
            context_tokens=context_tokens or 0,
            device=address.host,
            placement=options.placement,
            parallel=table.REMOTE.requests,
            template=None,
            lacks=table.REMOTE.lacks,
        )

    def tokenize(self, text: str) -> list[int]:
        """Refused: its tokens are its own.

        Raises:
            EngineError: always.
        """
        raise EngineError(f"{self._address} does not tell the tokens of a text", detail=f"{len(text)} characters")

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Continue a text as it stands."""
        if isinstance(request.prompt, tuple):
            raise UsageError("A server elsewhere takes a text, not token ids")
        yield from self._answer("/v1/completions", {"prompt": request.prompt}, request)

    def converse(self, messages: Sequence[Message], request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a conversation."""
        said = {"messages": [_describe(message) for message in messages]}
        yield from self._answer("/v1/chat/completions", said, request)

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:
        """The vectors of texts. The server tells the tokens of all together only."""
        limits.refuse_empty(texts)
        return [Embedding(vector, None) for vector in embed(self._address, self._name, texts, cancelled)]

    def close(self) -> None:
        """Nothing of ours is there."""

    def _answer(self, route: str, asked: dict[str, Any], request: GenerateRequest) -> Iterator[Chunk]:
        limits.check_asked(request, self.info)
        most = {} if request.max_tokens is None else {"max_tokens": request.max_tokens}
        yield Started(None)
        endless = table.ENDLESS if request.ignore_end else {}
        body = {"model": self._name, **asked, **most, **table.REMOTE.describe(request.sampling), **endless}
        stream = http.Stream(self._address, route, body)
        # Who asked for no maximum and is cut off has filled the context, as far as anyone can tell.
        ended: FinishReason = "context" if request.max_tokens is None else "length"
        allowance = limits.Allowance(request.max_tokens or 0, ended)
        yield from follow(stream, request, allowance, None)


def _describe(message: Message) -> dict[str, Any]:
    """A message in OpenAI's words, with the calls and the result that it may carry."""
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        told["tool_call_id"] = message.tool_call_id
    return told


def _find_context(listed: dict[str, Any]) -> int | None:
    """The context that a server tells of a model: vLLM and SGLang, or llama.cpp."""
    told = listed.get("max_model_len") or (listed.get("meta") or {}).get("n_ctx")
    return told if isinstance(told, int) else None
