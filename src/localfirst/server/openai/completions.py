"""`/v1/completions`: texts continued as they stand, without the model's template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.conversation import Answer, TextDelta
from localfirst.server.asked import Generating
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.openai.asked import IGNORED, NEUTRAL, count, name_build, name_end, parse_manner
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localfirst.conversation import ToolCall
    from localfirst.server.asked import Manner
    from localfirst.types import Plan

MOST_PROMPTS = 64
NO_PART: dict[str, tuple[Any, ...]] = {"echo": (False,), "best_of": (1,), "suffix": ("",), "logprobs": ()}


class Completion(NamedTuple):
    """Texts that are to be continued."""

    manner: Manner
    prompts: tuple[str, ...]

    def make_work(self) -> Generating:
        """What a loaded model is asked to do."""
        return Generating(self.manner, self._make_requests)

    def _make_requests(self, plan: Plan) -> Iterator[protocol.Complete]:
        for prompt in self.prompts:
            for sampling in self.manner.make_samplings(plan):
                yield protocol.Complete(prompt, sampling, self.manner.max_tokens, self.manner.stop)


def parse_completion(body: Mapping[str, Any]) -> Completion:
    """A request in OpenAI's form.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    manner = parse_manner(fields)
    prompts = fields.texts("prompt", MOST_PROMPTS)
    if not prompts:
        raise refuse_type("prompt", "a text or a list of texts")
    fields.end(IGNORED, NEUTRAL | NO_PART)
    return Completion(manner, prompts)


def make_completion(name: str, created: int, plan: Plan, asked: Completion, answers: list[Answer]) -> dict[str, Any]:
    """The whole response."""
    choices = [_make_choice(index, answer.text, name_end(answer)) for index, answer in enumerate(answers)]
    return {
        **_begin(name, created, plan, asked.manner.model),
        "choices": choices,
        "usage": count(answers, len(asked.prompts)),
    }


class Chunks:
    """The chunks of a streamed response."""

    def __init__(self, name: str, created: int, plan: Plan, asked: Completion) -> None:
        self._head = _begin(name, created, plan, asked.manner.model)
        self._usage = {"usage": None} if asked.manner.usage else {}
        self._prompts = len(asked.prompts)
        self._answers: list[Answer] = []

    def make(self, index: int, piece: TextDelta | ToolCall | Answer) -> Iterator[dict[str, Any]]:
        """What a piece of the answer number `index` becomes."""
        if isinstance(piece, TextDelta):
            yield {**self._head, "choices": [_make_choice(index, piece.text, None)], **self._usage}
        elif isinstance(piece, Answer):
            self._answers.append(piece)
            yield {**self._head, "choices": [_make_choice(index, "", name_end(piece))], **self._usage}

    def end(self) -> Iterator[dict[str, Any]]:
        """What comes last: the counts, where they were asked for."""
        if self._usage:
            yield {**self._head, "choices": [], "usage": count(self._answers, self._prompts)}


def _begin(name: str, created: int, plan: Plan, model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{name}",
        "object": "text_completion",
        "created": created,
        "model": model,
        "system_fingerprint": name_build(plan),
    }


def _make_choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
