"""Answers that have to be a call of a tool: the model writes its name and its arguments, and nothing else of it.

What stands around these is written for it, in its own format, as far as it goes in each step: what opens the call, then
the name, held to those that it may call, then what opens the arguments, then these, held to the tool's schema. So each
step is one that any engine with constraints can do, and the markers are the tokens that they are in any prompt.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from localfirst.backends import base, constraints
from localfirst.constraint import make_regex, make_schema
from localfirst.errors import ConstraintError
from localfirst.worker import held

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from localfirst.chat.call_writing import Writing
    from localfirst.chat.parse import ReasoningFormat
    from localfirst.conversation import Constraint, ToolChoice

_JOINED = frozenset({"$ref", "allOf", "anyOf", "if", "oneOf", "patternProperties"})
"""Keys of a schema that may let in parameters which its `properties` do not name."""


def generate(
    model: base.LoadedModel,
    asked: base.GenerateRequest,
    schemas: Mapping[str, Constraint],
    writing: Writing,
    thinking: ReasoningFormat | None,
) -> Iterator[base.Chunk]:
    """Answer a prompt with one call of one of the tools, after thinking where the model does.

    What is written for the model is no token of the answer's. No stop string ends a call.

    Raises:
        ConstraintError: the engine cannot hold an answer, or refuses a schema.
        LfError: as `LoadedModel.generate`.
    """
    first = next(iter(schemas.values()))
    constraints.require(first, model.info)
    if len(schemas) > 1:
        constraints.require(_name_one_of(schemas), model.info)
    after = partial(_call, schemas=schemas, writing=writing)
    asked = replace(asked, constraint=first, stop=())
    yield from held.think_first(model, asked, thinking, after, end=writing.thinking_end, resume=writing.resume)


def find_schemas(tools: Sequence[Mapping[str, Any]], choice: ToolChoice) -> dict[str, Constraint]:
    """The tools that may be called by their names, each with what its arguments are held to.

    Raises:
        ConstraintError: a schema is over one of the bounds.
    """
    functions = (tool["function"] for tool in tools)
    return {
        function["name"]: make_schema(json.dumps(_close(function.get("parameters") or {})))
        for function in functions
        if choice.name in {None, function["name"]}
    }


def _close(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's parameters as the schema of its arguments: an object of no other parameters, unless they say so."""
    known = "properties" in parameters and not _JOINED & parameters.keys()
    closed = {"additionalProperties": False} if known else {}
    return {"type": "object"} | closed | dict(parameters)


def refuse(model: str) -> ConstraintError:
    """The error for a model whose calls have no arguments in JSON, or of which nobody knows how it writes them."""
    return ConstraintError(
        f"{model} cannot be made to call a tool",
        detail="its calls are not written in JSON, or its chat template does not say how",
        hint='Let it choose: tool choice "auto"',
    )


def _name_one_of(names: Mapping[str, object]) -> Constraint:
    return make_regex("|".join(map(re.escape, names)))


def _call(
    model: base.LoadedModel, asked: base.GenerateRequest, *, schemas: Mapping[str, Constraint], writing: Writing
) -> Iterator[base.Chunk]:
    call = _Call(model, asked)
    name = next(iter(schemas))
    if len(schemas) > 1:
        yield from call.write(writing.before)
        name = yield from call.generate(_name_one_of(schemas))
        if call.whole and name not in schemas:
            raise ConstraintError(
                f"{model.info.engine} did not keep to the names of the tools", detail=f"found: {name}"
            )
        call.need_more()
        text = writing.between
    else:
        text = writing.before + name + writing.between
    if call.whole:
        yield from call.write(text)
        yield from call.generate(schemas[name])
        if call.whole:
            yield from call.write(writing.after)
    yield call.finish()


class _Call:
    """A call as far as it is written, by us and by the model."""

    def __init__(self, model: base.LoadedModel, asked: base.GenerateRequest) -> None:
        self._model, self._asked = model, asked
        self._waiting: list[base.Chunk] = []
        self._parts: list[base.Finished] = []

    @property
    def whole(self) -> bool:
        """Whether what was generated so far came to its own end."""
        return all(part.finish_reason == "stop" for part in self._parts)

    def write(self, text: str) -> Iterator[base.Chunk]:
        """Put in a text of ours; the first only comes out when the engine has read it with the prompt."""
        self._asked = replace(self._asked, prompt=f"{self._asked.prompt}{text}")
        if text and self._parts:
            yield base.Piece(text)
        elif text:
            self._waiting.append(base.Piece(text))

    def generate(self, constraint: Constraint) -> Generator[base.Chunk, None, str]:
        """Let the model write what the constraint says; the text."""
        said: list[str] = []
        for chunk in held.hold(self._model, replace(self._asked, constraint=constraint)):
            if isinstance(chunk, base.Finished):
                self._parts.append(chunk)
            elif isinstance(chunk, base.Piece):
                said.append(chunk.text)
                yield chunk
            elif not self._parts:
                yield chunk
                yield from self._waiting
        text = "".join(said)
        most = self._asked.max_tokens
        left = None if most is None else most - self._parts[-1].usage.completion_tokens
        self._asked = replace(self._asked, prompt=f"{self._asked.prompt}{text}", max_tokens=left)
        return text

    def need_more(self) -> None:
        """Take the call for cut off where no token is left for the rest of it."""
        if self.whole and self._asked.max_tokens == 0:
            self._parts[-1] = replace(self._parts[-1], finish_reason="length")

    def finish(self) -> base.Finished:
        """The end of the whole."""
        return held.join(self._parts[0], *self._parts)
