"""Answers under a constraint: a model that thinks first does so freely, and the answer after it is held.

Held from its first token on, such a model could not think at all, and answers worse for it. So the thinking is
generated without the constraint, up to the marker that ends it, and then the answer with it, from the prompt and the
thinking together. Nothing here depends on the engine: one that keeps what it has read reads nothing twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localfirst.backends import base, constraints
from localfirst.constraint import is_kept
from localfirst.errors import ConstraintError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from localfirst.chat.parse import ReasoningFormat
    from localfirst.conversation import Constraint


def generate(
    model: base.LoadedModel, asked: base.GenerateRequest, thinking: ReasoningFormat | None = None
) -> Iterator[base.Chunk]:
    """Answer a prompt, under its constraint if it has one.

    Raises:
        ConstraintError: the engine cannot, refuses the constraint before any piece, or, against its promise, did not
            keep to it.
        LfError: as `LoadedModel.generate`.
    """
    if asked.constraint is None:
        yield from model.generate(asked)
        return
    if asked.ignore_end:
        raise UsageError("An answer that is held to a constraint ends where that is fulfilled")
    constraints.require(asked.constraint, model.info)
    yield from think_first(model, asked, thinking, hold)


def follow(
    model: base.LoadedModel,
    asked: base.GenerateRequest,
    put: Callable[[base.Chunk], None],
    pass_on: Callable[[], None],
    thinking: ReasoningFormat | None = None,
) -> None:
    """As `generate`, but told as `base.Pusher` tells: by the engine itself where it can, and nothing stands between.

    Raises:
        LfError: as `generate`.
    """
    if asked.constraint is None and isinstance(model, base.Pusher):
        model.push(asked, put, pass_on)
        return
    for chunk in generate(model, asked, thinking):
        put(chunk)
        pass_on()


def think_first(  # noqa: PLR0913 - what is generated, and what stands between
    model: base.LoadedModel,
    asked: base.GenerateRequest,
    thinking: ReasoningFormat | None,
    after: Callable[[base.LoadedModel, base.GenerateRequest], Iterator[base.Chunk]],
    *,
    end: str | None = None,
    resume: str = "",
) -> Iterator[base.Chunk]:
    """Let a model think freely, where it does, and then answer by `after`, from the prompt and the thinking.

    `end` is what ends the thinking, where that is not what an answer begins with; `resume` is written after it.
    """
    if thinking is None or not isinstance(asked.prompt, str):
        yield from after(model, asked)
        return
    read = yield from _read(model, asked)
    if read.finish_reason == "cancelled":
        yield read
        return
    thought = _Thought(thinking, asked.prompt, end or thinking.answer)
    spent = yield from _think(model, asked, thought)
    if not thought.over:  # the answer has ended before it began
        yield join(read, spent)
        return
    used = spent.usage.completion_tokens if thought.text else 0
    left = None if asked.max_tokens is None else asked.max_tokens - used
    if left is not None and left < 1:  # the marker was the last token that it may have
        yield replace(join(read, spent), finish_reason="length")
        return
    written = thought.text + resume if thought.text else ""
    if written and resume:
        yield base.Piece(resume)
    for chunk in after(model, replace(asked, prompt=asked.prompt + written, max_tokens=left)):
        if isinstance(chunk, base.Finished):
            yield join(read, spent, chunk) if written else join(read, chunk)
        elif isinstance(chunk, base.Piece):
            yield chunk


def _read(model: base.LoadedModel, asked: base.GenerateRequest) -> Generator[base.Chunk, None, base.Finished]:
    """Have the prompt read and the constraint looked at, so that one that is refused is told before any thinking.

    The token that comes of it is dropped: it is drawn from what reading the prompt gives in any case, and costs no step
    of its own. What was read stays in the engine's cache.
    """
    for chunk in model.generate(replace(asked, max_tokens=1, likeliest=None)):
        if isinstance(chunk, base.Started):
            yield chunk
        elif isinstance(chunk, base.Finished):
            return chunk
    raise AssertionError("an answer ends with its end")


class _Thought:
    """What a model writes up to the marker that its answer begins with; empty where it does not think."""

    def __init__(self, form: ReasoningFormat, prompt: str, end: str) -> None:
        self._form, self._end = form, end
        self._thinks = form.is_open(prompt)
        self._shown = 0
        self.text = ""
        self.over = False

    def feed(self, text: str) -> str:
        """The part of a piece that belongs to the thinking; afterwards `over` may be true."""
        self.text += text
        if not self._thinks:
            beginnings, start = (*self._form.openings, self._end), self.text.lstrip()
            self._thinks = start.startswith(beginnings)
            if not self._thinks:
                if not any(word.startswith(start) for word in beginnings):
                    self.text, self.over = "", True
                return ""
        if (at := self.text.find(self._end)) >= 0:
            self.text, self.over = self.text[: at + len(self._end)], True
        fresh, self._shown = self.text[self._shown :], len(self.text)
        return fresh

    def end(self) -> str:
        """What closes a thinking that the model ended with its end token, without the marker."""
        self.over = True
        closing = self._end if self._thinks else ""
        self.text = self.text + closing if self._thinks else ""
        return closing


def _think(
    model: base.LoadedModel, asked: base.GenerateRequest, thought: _Thought
) -> Generator[base.Chunk, None, base.Finished]:
    """Generate freely until the thinking is over, or the answer ends for another reason."""
    free = replace(asked, constraint=None, stop=(), likeliest=None, cancelled=lambda: thought.over or asked.cancelled())
    for chunk in model.generate(free):
        if isinstance(chunk, base.Piece):
            if not thought.over and (text := thought.feed(chunk.text)):
                yield base.Piece(text)
        elif isinstance(chunk, base.Finished):
            if not thought.over and chunk.finish_reason == "stop" and (text := thought.end()):
                yield base.Piece(text)
            return chunk
    raise AssertionError("an answer ends with its end")


def hold(model: base.LoadedModel, asked: base.GenerateRequest) -> Iterator[base.Chunk]:
    """Generate under the constraint, and see at the end that it was kept to, where that can be seen."""
    constraint = asked.constraint
    assert constraint is not None  # noqa: S101 - nobody holds an answer to nothing
    said: list[str] = []
    for chunk in model.generate(asked):
        if isinstance(chunk, base.Piece):
            said.append(chunk.text)
        elif isinstance(chunk, base.Finished) and chunk.finish_reason == "stop" and not asked.stop:
            _check_kept(model.info, constraint, "".join(said))
        yield chunk


def _check_kept(info: base.LoadedInfo, constraint: Constraint, answer: str) -> None:
    if not is_kept(constraint, answer):
        raise ConstraintError(
            f"{info.engine} did not keep to {constraints.NAMES[constraint.kind]}",
            detail="it gave the constraint up while answering; it may be too large, or allow no end",
            hint="Make it simpler",
        )


def join(read: base.Finished, *parts: base.Finished) -> base.Finished:
    """One end for several parts of an answer to a prompt that was read before: tokens and seconds of all of them."""
    completion_tokens = sum(part.usage.completion_tokens for part in parts)
    drafted_tokens = sum(part.usage.drafted_tokens for part in parts)
    usage = replace(read.usage, completion_tokens=completion_tokens, drafted_tokens=drafted_tokens)
    seconds = [part.decode_s for part in parts] + [part.prefill_s for part in parts[1:]]
    return replace(parts[-1], usage=usage, prefill_s=read.prefill_s, decode_s=sum(filter(None, seconds)))
