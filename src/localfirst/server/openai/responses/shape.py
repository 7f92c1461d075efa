"""A response as it comes to be: its items, and the events that tell of them. Pure.

Source of the form: openai/openai-openapi, `Response` and `ResponseStreamEvent`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.conversation import Answer, TextDelta, ToolCall
from localfirst.server.failures import tell
from localfirst.server.likely import describe_all
from localfirst.server.openai.responses.items import make_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localfirst.errors import LfError

ENDS = frozenset({"response.completed", "response.incomplete"})
"""Events of a response that can be gone on from."""
REASONS = {"length": "max_output_tokens", "context": "max_output_tokens"}
"""Why an answer is not whole, in OpenAI's words. A full context cuts it off as its maximum does."""


class Response:
    """A response, from its first event to its last: all that `make` and `fail` give, in this order."""

    def __init__(self, name: str, created: int, model: str, echo: Mapping[str, Any]) -> None:
        self.name = name
        self.output: list[dict[str, Any]] = []
        self._head = {"id": name, "object": "response", "created_at": created, "model": model, **echo}
        self._usage: dict[str, Any] | None = None
        self._number = 0
        self._open: dict[str, Any] | None = None
        """The item that text is added to."""

    @property
    def has_begun(self) -> bool:
        """Whether there was an event."""
        return self._number > 0

    def make(self, piece: TextDelta | ToolCall | Answer) -> Iterator[dict[str, Any]]:
        """What a piece of the answer becomes; of the `Answer` itself, the end."""
        if not self.has_begun:
            for kind in ("response.created", "response.in_progress"):
                yield self._event(kind, response=self._describe("in_progress"))
        match piece:
            case TextDelta():
                yield from self._add_text(piece)
            case ToolCall():
                yield from self._add_call(piece)
            case Answer():
                if not self.output:
                    yield from self._open_item("message")
                yield from self._close_item()
                yield from self._end(piece)

    def fail(self, error: LfError) -> Iterator[dict[str, Any]]:
        """What tells that nothing more comes."""
        told = tell(error).body["error"]
        code = "rate_limit_exceeded" if told["type"] == "rate_limit_error" else "server_error"
        failed = self._describe("failed", error={"code": code, "message": told["message"]})
        yield self._event("response.failed", response=failed)

    def _describe(
        self, status: str, *, error: dict[str, Any] | None = None, incomplete: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The response as it stands."""
        return {
            **self._head,
            "status": status,
            "error": error,
            "incomplete_details": incomplete,
            "output": list(self.output),
            "usage": self._usage,
        }

    def _end(self, answer: Answer) -> Iterator[dict[str, Any]]:
        usage = answer.usage
        self._usage = {
            "input_tokens": usage.prompt_tokens,
            # Nothing is put into a cache for money; OpenAI's own answers always say how much was.
            "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            # Which of them were thinking is not known.
            "output_tokens_details": {} if answer.reasoning else {"reasoning_tokens": 0},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
        if reason := REASONS.get(answer.finish_reason):
            whole = self._describe("incomplete", incomplete={"reason": reason})
            yield self._event("response.incomplete", response=whole)
        else:
            yield self._event("response.completed", response=self._describe("completed"))

    def _add_text(self, piece: TextDelta) -> Iterator[dict[str, Any]]:
        kind, part = ("reasoning", "reasoning_text") if piece.reasoning else ("message", "output_text")
        if self._open is None or self._open["type"] != kind:
            yield from self._close_item()
            yield from self._open_item(kind)
        assert self._open is not None  # noqa: S101 - just opened
        content, told = self._open["content"][0], describe_all(piece.weighed)
        content["text"] += piece.text
        if "logprobs" in content:
            content["logprobs"] += told
        more = {"logprobs": told} if "logprobs" in content else {}
        yield self._event(f"response.{part}.delta", **self._place(), content_index=0, delta=piece.text, **more)

    def _add_call(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        yield from self._close_item()
        item = {"type": "function_call", "id": make_id("function_call"), "call_id": call.id, "name": call.name}
        self.output.append({**item, "arguments": "", "status": "in_progress"})
        place = {"item_id": item["id"], "output_index": len(self.output) - 1}
        index = place["output_index"]
        yield self._event("response.output_item.added", output_index=index, item=dict(self.output[-1]))
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments_json)
        yield self._event(
            "response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments_json
        )
        self.output[-1] = {**item, "arguments": call.arguments_json, "status": "completed"}
        yield self._event("response.output_item.done", output_index=index, item=dict(self.output[-1]))

    def _open_item(self, kind: str) -> Iterator[dict[str, Any]]:
        item: dict[str, Any] = {"type": kind, "id": make_id(kind), "status": "in_progress"}
        item["summary" if kind == "reasoning" else "role"] = [] if kind == "reasoning" else "assistant"
        part = _make_part(kind)
        self._open = {**item, "content": [part]}
        self.output.append(self._open)
        index = len(self.output) - 1
        yield self._event("response.output_item.added", output_index=index, item={**item, "content": []})
        yield self._event("response.content_part.added", **self._place(), content_index=0, part=dict(part))

    def _close_item(self) -> Iterator[dict[str, Any]]:
        item = self._open
        if item is None:
            return
        part, place = item["content"][0], self._place()
        self._open = None
        item["status"] = "completed"
        kind = part["type"]
        more = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
        yield self._event(f"response.{kind}.done", **place, content_index=0, text=part["text"], **more)
        yield self._event("response.content_part.done", **place, content_index=0, part=dict(part))
        yield self._event("response.output_item.done", output_index=place["output_index"], item=dict(item))

    def _place(self) -> dict[str, Any]:
        assert self._open is not None  # noqa: S101 - there is no place without one
        return {"item_id": self._open["id"], "output_index": len(self.output) - 1}

    def _event(self, kind: str, **values: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **values}


def _make_part(kind: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": ""}
    return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
