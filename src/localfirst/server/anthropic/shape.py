"""A message as it comes to be: its blocks, and the events that tell of them. Pure.

Source of the form: https://docs.anthropic.com/en/api/messages-streaming, `RawMessageStreamEvent` in
anthropics/anthropic-sdk-python.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst.conversation import Answer, TextDelta, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.server.anthropic.asked import Asked

ENDS = {"length": "max_tokens", "context": "model_context_window_exceeded"}
"""Why an answer is not whole, in Anthropic's words."""
SIGNATURE = ""
"""Anthropic's proves that its own model thought so; nobody here asks for a proof."""


class Response:
    """A message, from its first event to its last: all that `begin` and then `make` give, in this order."""

    def __init__(self, name: str, asked: Asked) -> None:
        self._name, self._asked = name, asked
        self._open: str | None = None
        """The kind of block that text is added to."""
        self._blocks = 0

    def begin(self, prompt_tokens: int | None) -> dict[str, Any]:
        """The first event; how much of the prompt was in a cache is only told in the end."""
        usage = _count(prompt_tokens or 0, 0, 0)
        message = {**_describe(self._name, self._asked), "content": [], **_end(None, None), "usage": usage}
        return {"type": "message_start", "message": message}

    def make(self, piece: TextDelta | ToolCall | Answer) -> Iterator[dict[str, Any]]:
        """What a piece of the answer becomes; of the `Answer` itself, the end."""
        match piece:
            case TextDelta(text=text, reasoning=True):
                if self._asked.shows_thinking:
                    yield from self._add("thinking", {"thinking": "", "signature": SIGNATURE}, {"thinking": text})
            case TextDelta(text=text):
                yield from self._add("text", {"text": "", "citations": None}, {"text": text})
            case ToolCall():
                yield from self._close()
                yield from self._start({**_make_call(piece), "input": {}})
                yield self._delta({"type": "input_json_delta", "partial_json": piece.arguments_json})
                yield self._stop()
            case Answer():
                yield from self._close()
                yield {"type": "message_delta", "delta": _find_end(piece, self._asked), "usage": _count_answer(piece)}
                yield {"type": "message_stop"}

    def _add(self, kind: str, empty: dict[str, Any], more: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Add text to the open block, which is begun where it is of another kind."""
        if self._open != kind:
            yield from self._close()
            yield from self._start({"type": kind, **empty})
            self._open = kind
        yield self._delta({"type": f"{kind}_delta", **more})

    def _start(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"type": "content_block_start", "index": self._blocks, "content_block": block}
        if self._blocks == 0:
            yield {"type": "ping"}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._blocks, "delta": delta}

    def _close(self) -> Iterator[dict[str, Any]]:
        if self._open == "thinking":
            yield self._delta({"type": "signature_delta", "signature": SIGNATURE})
        if self._open is not None:
            yield self._stop()
        self._open = None

    def _stop(self) -> dict[str, Any]:
        self._blocks += 1
        return {"type": "content_block_stop", "index": self._blocks - 1}


def make_message(name: str, asked: Asked, answer: Answer) -> dict[str, Any]:
    """The whole message."""
    content: list[dict[str, Any]] = []
    if answer.reasoning and asked.shows_thinking:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": SIGNATURE})
    if answer.text:
        content.append({"type": "text", "text": answer.text, "citations": None})
    content += map(_make_call, answer.tool_calls)
    return {
        **_describe(name, asked),
        "content": content,
        **_find_end(answer, asked),
        "usage": _count_answer(answer),
    }


def _describe(name: str, asked: Asked) -> dict[str, Any]:
    return {"id": f"msg_{name}", "type": "message", "role": "assistant", "model": asked.chat.manner.model}


def _make_call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments_json)}


def _find_end(answer: Answer, asked: Asked) -> dict[str, Any]:
    if answer.tool_calls:
        return _end("tool_use", None)
    if answer.stopped_by in asked.chat.manner.stop:  # else it is one of the template's own
        return _end("stop_sequence", answer.stopped_by)
    return _end(ENDS.get(answer.finish_reason, "end_turn"), None)


def _end(reason: str | None, stop: str | None) -> dict[str, Any]:
    return {"stop_reason": reason, "stop_sequence": stop}


def _count_answer(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return _count(usage.prompt_tokens - usage.cached_tokens, usage.cached_tokens, usage.completion_tokens)


def _count(fresh: int, cached: int, told: int) -> dict[str, Any]:
    """Tokens; those of the prompt are the sum of the three of input, as Anthropic has it."""
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": told,
    }
