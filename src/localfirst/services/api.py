"""The public Python API, as `localfirst.load`, `localfirst.plan` and `localfirst.probe`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from localfirst.constraint import make_schema
from localfirst.conversation import Answer, TextDelta
from localfirst.errors import UsageError
from localfirst.hwprobe.probe import probe
from localfirst.services.messages import parse_messages
from localfirst.services.planning import plan_model
from localfirst.services.preparing import Allowed
from localfirst.services.session import Session, open_session
from localfirst.services.structure import check_together, parse_choice, parse_tools
from localfirst.types import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from localfirst.conversation import Sampling, ToolCall
    from localfirst.types import Plan, Pooling, Resolution, Task

__all__ = ["LoadedModel", "load", "plan", "probe"]


def plan(
    name: str, *, context_tokens: int | None = None, device: str | None = None, backend: str | None = None
) -> Resolution:
    """Decide how a model would run on this machine, without fetching or starting anything.

    Raises:
        LfError: the name is unknown, or nothing fits; see `localfirst.errors`.
    """
    return plan_model(name, Wanted(context_tokens=context_tokens, device=device, backend=backend)).resolution


def load(  # noqa: PLR0913 - one keyword per option
    name: str,
    *,
    context_tokens: int | None = None,
    device: str | None = None,
    backend: str | None = None,
    offline: bool = False,
    accept_license: bool = False,
    draft: str | None = None,
    parallel: int = 1,
    pooling: Pooling | None = None,
) -> LoadedModel:
    """Load a model, installing its engine and fetching its files where they are missing.

    Args:
        name: as on the command line.
        context_tokens: of prompt and answer together.
        device: `cpu`, `gpu` or `npu`.
        backend: the engine.
        offline: use no network.
        accept_license: you accept the terms of the model's licence, where it has any.
        draft: a smaller model of the same vocabulary that guesses the next tokens, for the model to check.
        parallel: answer up to this many questions at the same time, asked by as many threads; together they are faster
            than one after the other. `plan.requests` says how many there is memory for, or the engine computes.
        pooling: for models that are to `embed` and do not say how, or for another way than theirs.

    Raises:
        LfError: as on the command line; see `localfirst.errors`.
    """
    if parallel < 1:
        raise UsageError(f"`parallel` must be at least 1, not {parallel}")
    task: Task | None = None if pooling is None else "embedding"
    wanted = Wanted(context_tokens, device, backend, task=task, pooling=pooling, requests=parallel)
    allowed = Allowed(network=not offline, accept_license=accept_license)
    return LoadedModel(open_session(name, wanted, allowed=allowed, draft=draft))


class LoadedModel:
    """A model in a worker process of its own. Use it as a context manager, or `close` it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def plan(self) -> Plan:
        """How and where it runs, and why."""
        return self._session.plan

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        schema: Mapping[str, object] | None = None,
    ) -> Iterator[str]:
        """Yield the answer as it is generated. Each call stands alone: nothing is remembered between two.

        Args:
            prompt: a question, or messages with `role` and `content`.
            sampling: how tokens are drawn; by default as on the command line.
            max_tokens: the longest answer, in tokens.
            schema: a JSON schema; the answer is JSON that fits it.
        """
        for piece in self._ask(prompt, schema, sampling=sampling, max_tokens=max_tokens):
            if isinstance(piece, TextDelta) and not piece.reasoning:
                yield piece.text

    def chat(  # noqa: PLR0913 - one keyword per thing that a request may have of its own
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        schema: Mapping[str, object] | None = None,
        tools: Sequence[Mapping[str, object]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        parallel_tool_calls: bool = True,
    ) -> Answer:
        """The whole answer to messages with `role` and `content`, with its token counts and timings.

        As `stream`; and `tools`, as OpenAI's API has them, are what the model may call: `Answer.tool_calls` says what
        it asks for. Calls go back to it in an assistant's message (`tool_calls`), their results in messages of role
        `tool`. Under a `schema` there are none.

        Args:
            messages: a question, or messages as OpenAI's API has them, with text as content.
            sampling: as in `stream`.
            max_tokens: as in `stream`.
            schema: as in `stream`.
            tools: what the model may call.
            tool_choice: `auto`, `none`, `required` (one call of any tool), or the name of the one to call.
            parallel_tool_calls: whether the model may ask for several calls at once.

        Raises:
            UsageError: a message, a tool or the choice is none.
            ConstraintError: a call is required, and the engine or the model cannot be held to one.
            TemplateError: the model knows no tools.
        """
        offered = parse_tools(tools, "`tools`")
        choice = parse_choice(tool_choice, offered, parallel=parallel_tool_calls)
        *_, answer = self._ask(messages, schema, offered, sampling=sampling, max_tokens=max_tokens, choice=choice)
        assert isinstance(answer, Answer)  # noqa: S101 - an answer's iterator ends with one, or raises
        return answer

    def embed(self, texts: str | Iterable[str]) -> list[tuple[float, ...]]:
        """The vector of each text, of length 1; of an embedding model, or one that was loaded with a `pooling`.

        Raises:
            ContextError: a text is longer than the context.
            UsageError: a text is empty, or this is no embedding model.
        """
        return [one.vector for one in self._session.embed((texts,) if isinstance(texts, str) else texts)]

    def _ask(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        schema: Mapping[str, object] | None,
        tools: tuple[dict[str, Any], ...] = (),
        **asked: Any,
    ) -> Iterator[TextDelta | ToolCall | Answer]:
        constraint = None if schema is None else make_schema(json.dumps(schema))
        check_together(constraint, tools)
        return self._session.ask(parse_messages(prompt), constraint=constraint, tools=tools, **asked)

    def close(self) -> None:
        """End the worker."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
