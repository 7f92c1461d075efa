"""A conversation with a loaded model: the way of one request, from a name to the end of an answer."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from localfirst.catalog.names import parse_remote
from localfirst.conversation import FREE_CHOICE, Answer, Message, Sampling, TextDelta, ToolCall
from localfirst.errors import LfError, NetworkError, UsageError
from localfirst.hwprobe.probe import probe
from localfirst.runtimes.variable import advise
from localfirst.services import measuring
from localfirst.services.preparing import Allowed, ignore, prepare
from localfirst.types import Progress
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from localfirst.conversation import Constraint, Embedding, ToolChoice
    from localfirst.types import Machine, Plan, Wanted
    from localfirst.worker.holder import Heard, Holder, Reply

Told = TypeVar("Told", bound="Heard")
EMBEDDED_TEXTS = 16
"""Texts that a worker is given at once: results come early, and a request costs little beside them."""


def open_session(  # noqa: PLR0913 - one keyword per thing that callers decide
    name: str,
    wanted: Wanted,
    *,
    allowed: Allowed | None = None,
    report: Callable[[Progress], None] = ignore,
    chosen: Callable[[Plan], None] | None = None,
    draft: str | None = None,
    see: Callable[[], Machine] | None = None,
) -> Session:
    """Plan, install the runtime, fetch the files, start the worker, load the model.

    Args:
        name: a model name as typed.
        wanted: what the user asked for.
        allowed: whether the network and an installation may be used.
        report: told of every long step.
        chosen: told of the plan as soon as it stands, before anything is fetched.
        draft: the name of a smaller model that is to draft, or `auto`.
        see: how to look at this machine, for who knows more of what is free on it; else it is probed.

    Raises:
        LfError: any step's own; nothing is left running.
    """
    allowed = allowed or Allowed()
    if server := parse_remote(name):
        if not allowed.network:
            raise NetworkError(f"`{name}` is a server, and the network is switched off")
        if draft is not None:
            raise UsageError(f"`{name}` is a server, which does as it was started", hint="Leave out `--draft`")
        return _open_remote(name, *server, wanted, report)
    prepared = prepare(name, wanted, allowed=allowed, report=report, chosen=chosen, draft=draft, see=see)
    return Session(
        prepared.plan, prepared.python, prepared.load, prepared.machine, report, measures=wanted.threads is None
    )


def _open_remote(
    name: str, address: str, model: str | None, wanted: Wanted, report: Callable[[Progress], None]
) -> Session:
    """Speak to a server elsewhere, which is only ever asked because the user names it."""
    from localfirst.services import remote

    remote.refuse(wanted)
    plan = remote.make_plan(name, address, model)
    return Session(plan, sys.executable, remote.make_load(address, model, wanted), probe(), report)


def make_sampling(plan: Plan, asked: Mapping[str, Any]) -> Sampling:
    """What the user asked for, and the publisher's temperature, or ours, where nothing was asked.

    Args:
        plan: the chosen plan.
        asked: fields of `Sampling`; `None` where nothing was asked.
    """
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if plan.model.temperature is not None:
        given.setdefault("temperature", plan.model.temperature)
    return Sampling(**given)


class Session:
    """A loaded model and what has been said. Use it as a context manager; leaving it ends the worker."""

    def __init__(  # noqa: PLR0913 - what a worker is started with, and what is done besides
        self,
        plan: Plan,
        python: str,
        load: protocol.Load,
        machine: Machine,
        report: Callable[[Progress], None] = ignore,
        *,
        measures: bool = True,
        holder: Holder | None = None,
    ) -> None:
        """Start the worker and load the model, or be answered by a `holder` that has it loaded, as long as it lives.

        `report` is told how far an engine is that takes minutes to load. With `measures`, the speed of answers on
        `machine` is kept, for estimates.

        Raises:
            LfError: as the worker or the engine says; nothing is left running.
        """
        self.plan = plan
        self.system: str | None = None
        self.sampling = make_sampling(plan, {})
        self.max_tokens: int | None = None
        self.stop: tuple[str, ...] = ()
        self.constraint: Constraint | None = None
        self.tools: tuple[dict[str, Any], ...] = ()
        self.choice = FREE_CHOICE
        self.messages: list[Message] = []
        self.last: Answer | None = None
        self.load = load
        """What its worker is asked for."""
        self._python, self._machine, self._measures = python, machine, measures
        self.observe: Callable[[Answer | Embedding], None] = lambda _: None
        """Told of each that is finished, in the thread that asked."""
        self._reply: Reply | None = None
        self._cancelled = False
        """Whether the newest question is to have no answer; also before its worker is asked, which may load first."""
        self._report = report
        self._restarting = threading.Lock()
        self._start(holder or Worker(python))
        self._report = ignore

    def _start(self, holder: Holder) -> None:
        self.worker = holder
        try:
            begun = time.monotonic()
            self.loaded = holder.load(self.load, self._tell_loading)
            self.load_s = time.monotonic() - begun
        except BaseException as error:
            self.worker.close()
            if isinstance(error, LfError):
                advise(error, self.plan.runtime)
            raise

    def _tell_loading(self, text: str, lasting: bool) -> None:
        self._report(Progress(self.plan.model.name, 0, detail={"notice" if lasting else "line": text}))

    def _restart(self) -> None:
        with self._restarting:
            if not self.worker.alive:
                self.worker.close()
                self._start(Worker(self._python))

    def ask(  # noqa: PLR0913 - one keyword per thing that a request may have of its own
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
        tools: tuple[dict[str, Any], ...] = (),
        choice: ToolChoice | None = None,
    ) -> Iterator[TextDelta | ToolCall | Answer]:
        """Answer `messages` as they stand, remembering nothing: the pieces and calls, then the `Answer`.

        By the session's own sampling and maximum where none are given. A worker that died while it answered before is
        replaced first. Several threads may ask; `plan.requests` are answered at a time.
        """
        asked = protocol.Chat(
            tuple(messages),
            sampling or self.sampling,
            max_tokens or self.max_tokens,
            self.stop,
            constraint=constraint or self.constraint,
            tools=tools or self.tools,
            choice=choice or self.choice,
        )
        self._cancelled = False
        return self._answer(asked)

    def _answer(self, asked: protocol.Chat) -> Iterator[TextDelta | ToolCall | Answer]:
        self._restart()
        self._reply = self.worker.answer(asked)
        if self._cancelled:
            self._reply.cancel()
        for piece in self._reply:
            yield (said := self.note(piece))
            if isinstance(said, Answer) and (keep := self.find_keeping(asked, said)):
                keep()

    def note(self, heard: Told) -> Told:
        """What a worker has just said, with what else is known of it."""
        if isinstance(heard, Answer):
            heard = replace(heard, timings=replace(heard.timings, load_s=self.load_s))
            self.observe(heard)
        elif isinstance(heard, protocol.Embedded):
            for one in heard.embeddings:
                self.observe(one)
        return heard

    def find_keeping(self, asked: protocol.Request | None, answer: Answer) -> Callable[[], None] | None:
        """How to keep, for estimates, how fast an answer was; `None` for one that cannot be compared with others."""
        if self._measures and isinstance(asked, protocol.Chat) and not _is_held(asked):
            return partial(measuring.record, self.plan, self.loaded, self._machine, answer)
        return None

    def embed(self, texts: Iterable[str]) -> Iterator[Embedding]:
        """The vectors of texts, in their order; they are read, and computed, some at a time."""
        rest = iter(texts)
        while batch := tuple(islice(rest, EMBEDDED_TEXTS)):
            self._restart()
            self._reply = self.worker.embed(batch)
            yield from self.note(self._reply.wait_for(protocol.Embedded)).embeddings

    def cancel(self) -> None:
        """Let the answer to the newest question end now. Safe from a signal handler."""
        self._cancelled = True
        if self._reply is not None:
            self._reply.cancel()

    def stream(self, text: str) -> Iterator[TextDelta]:
        """Say `text` and yield the answer's pieces; closing the iterator stops the answer and keeps what was said."""
        self.messages.append(Message("user", text))
        return self._converse()

    def answer_call(self, call: ToolCall, text: str) -> None:
        """Keep the result of a call, for the model to go on from: `regenerate`, when no other call waits."""
        self.messages.append(Message("tool", text, tool_call_id=call.id, name=call.name))

    def regenerate(self) -> Iterator[TextDelta]:
        """Answer what was said last, a question or results of calls, again; nothing where nothing was said."""
        while self.messages and self.messages[-1].role == "assistant":
            self.messages.pop()
        return self._converse() if self.messages else iter(())

    def clear(self) -> None:
        """Forget the conversation; the system text and the parameters stay."""
        self.messages.clear()
        self.last = None

    def info(self) -> Mapping[str, str]:
        """What is loaded, for people."""
        context = f"{self.loaded.context_tokens} tokens" if self.loaded.context_tokens else "unknown"
        if (plan := self.plan).variant.host == "remote":  # which tells nothing else
            return {"model": plan.model.title, "server": self.loaded.engine, "context": context}
        return {
            "model": plan.model.title,
            "variant": f"{plan.variant.name} ({plan.variant.format}, {plan.variant.quantization})",
            "published by": f"{plan.variant.repo} ({plan.variant.tier})",
            "runtime": f"{getattr(plan.runtime, 'name', '?')}: {self.loaded.engine} {self.loaded.engine_version}",
            "device": self.loaded.device,
            "context": context,
            **({"draft": plan.draft.model.title} if plan.draft else {}),
        }

    def close(self) -> None:
        """End the worker."""
        self.worker.close()

    @property
    def alive(self) -> bool:
        """Whether the worker is still there."""
        return self.worker.alive

    def explain_death(self) -> LfError:
        """Why the worker, which is gone, is gone."""
        return self.worker.explain_death()

    def kill(self, error: LfError) -> None:
        """End the worker by force; what it is answering fails with `error`."""
        self.worker.kill(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _converse(self) -> Iterator[TextDelta]:
        system = (Message("system", self.system),) if self.system else ()
        return self._remember(self.ask((*system, *self.messages), choice=self.choice.find_for(self.messages[-1])))

    def _remember(self, answer: Iterator[TextDelta | ToolCall | Answer]) -> Iterator[TextDelta]:
        said: list[str] = []
        self.last = None
        try:
            for piece in answer:
                if isinstance(piece, Answer):
                    self.last = piece
                    continue
                if isinstance(piece, ToolCall):
                    continue  # whole in the answer
                if not piece.reasoning:
                    said.append(piece.text)
                yield piece
        finally:
            self._keep("".join(said))

    def _keep(self, said: str) -> None:
        """Remember what was said, whole or cut short; a question that got no answer at all is taken back."""
        if said or self.last is not None:
            self.messages.append(Message("assistant", said, self.last.tool_calls if self.last else ()))
        else:
            self.messages.pop()


def _is_held(asked: protocol.Chat) -> bool:
    """Whether an answer is held to something, which takes its own time."""
    return asked.constraint is not None or asked.choice.use == "required"
