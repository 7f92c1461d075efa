"""`/v1/completions`: texts continued as they stand, without the model's template."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.conversation import MOST_LIKELIEST, Answer, TextDelta
from localfirst.server.asked import Generating
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.likely import write_token
from localfirst.server.openai.asked import IGNORED, NEUTRAL, count, name_build, name_end, parse_manner
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localfirst.conversation import ToolCall, Weighed
    from localfirst.server.asked import Manner
    from localfirst.types import Plan

MOST_PROMPTS = 64
NO_PART: dict[str, tuple[Any, ...]] = {"echo": (False,), "best_of": (1,), "suffix": ("",)}


class Completion(NamedTuple):
    """Texts that are to be continued."""

    manner: Manner
    prompts: tuple[str, ...]

    def find_prompt(self, index: int) -> str:
        """What the answer number `index` goes on from."""
        return self.prompts[index // self.manner.answers]

    def make_work(self) -> Generating:
        """What a loaded model is asked to do."""
        return Generating(self.manner, self._make_requests)

    def _make_requests(self, plan: Plan) -> Iterator[protocol.Complete]:
        for prompt in self.prompts:
            for sampling in self.manner.make_samplings(plan):
                manner = self.manner
                yield protocol.Complete(prompt, sampling, manner.max_tokens, manner.stop, likeliest=manner.likeliest)


def parse_completion(body: Mapping[str, Any]) -> Completion:
    """A request in OpenAI's form.

    Raises:
        ParameterError: a parameter is wrong or cannot be honoured; it is named.
    """
    fields = Fields(body)
    likeliest = fields.integer("logprobs", 0, MOST_LIKELIEST)
    manner = parse_manner(fields, likeliest, ("logprobs", "logprobs"))
    prompts = fields.texts("prompt", MOST_PROMPTS)
    if not prompts:
        raise refuse_type("prompt", "a text or a list of texts")
    fields.end(IGNORED, NEUTRAL | NO_PART)
    return Completion(manner, prompts)


def make_completion(name: str, created: int, plan: Plan, asked: Completion, answers: list[Answer]) -> dict[str, Any]:
    """The whole response."""
    choices = [
        _make_choice(index, answer.text, name_end(answer), _Logprobs(asked.find_prompt(index)).add(answer.weighed))
        for index, answer in enumerate(answers)
    ]
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
        self._asked = asked
        self._logprobs: dict[int, _Logprobs] = {}
        self._answers: list[Answer] = []

    def make(self, index: int, piece: TextDelta | ToolCall | Answer) -> Iterator[dict[str, Any]]:
        """What a piece of the answer number `index` becomes."""
        if isinstance(piece, TextDelta):
            if index not in self._logprobs:
                self._logprobs[index] = _Logprobs(self._asked.find_prompt(index))
            logprobs = self._logprobs[index].add(piece.weighed)
            yield {**self._head, "choices": [_make_choice(index, piece.text, None, logprobs)], **self._usage}
        elif isinstance(piece, Answer):
            self._answers.append(piece)
            yield {**self._head, "choices": [_make_choice(index, "", name_end(piece))], **self._usage}

    def end(self) -> Iterator[dict[str, Any]]:
        """What comes last: the counts, where they were asked for."""
        if self._usage:
            yield {**self._head, "choices": [], "usage": count(self._answers, len(self._asked.prompts))}


def _begin(name: str, created: int, plan: Plan, model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{name}",
        "object": "text_completion",
        "created": created,
        "model": model,
        "system_fingerprint": name_build(plan),
    }


def _make_choice(index: int, text: str, reason: str | None, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


class _Logprobs:
    """How likely the tokens of one text were, in the form of this route, some of them after the others.

    Places are counted in characters from the prompt's beginning. What was likeliest always has the token itself.
    """

    def __init__(self, prompt: str) -> None:
        self._place = len(prompt)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, weighed: tuple[Weighed, ...]) -> dict[str, Any] | None:
        """The next tokens; `None`: there are none."""
        if not weighed:
            return None
        places = []
        for one in weighed:
            places.append(self._place)
            self._place += len(self._decoder.decode(bytes(one.drawn.spelled or ())))
        return {
            "tokens": [write_token(one.drawn) for one in weighed],
            "token_logprobs": [one.drawn.log_prob for one in weighed],
            "top_logprobs": [
                {write_token(other): other.log_prob for other in (*one.likeliest, one.drawn)} for one in weighed
            ],
            "text_offset": places,
        }
