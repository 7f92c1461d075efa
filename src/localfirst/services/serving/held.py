"""One loaded model: what it is, who uses it, how long it stays."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from localfirst.services.serving.job import Inbox
    from localfirst.services.session import Session
    from localfirst.types import Plan, Task


class Key(NamedTuple):
    """A build in an engine on a device: what is loaded once, by whatever name it is asked for."""

    model: str
    variant: str
    runtime: str
    placement: str
    task: Task

    @property
    def full_name(self) -> str:
        """With the build."""
        return f"{self.model}@{self.variant}"


@dataclass(eq=False)
class Held:
    """A loaded model."""

    session: Session
    free: asyncio.Semaphore
    inbox: Inbox
    keep_s: float | None
    """How long it stays when nobody uses it; `None`: until another needs the memory."""
    pinned: bool = False
    """It stays then too."""
    active: int = 0
    used_s: float = field(default_factory=time.monotonic)
    """Of a clock that only goes forward."""
    since_s: float = field(default_factory=time.time)
    used_at_s: float | None = None
    """Of the clock on the wall; `None`: not used yet."""
    timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Remember that it was used now."""
        self.used_s, self.used_at_s = time.monotonic(), time.time()

    def stop_timer(self) -> None:
        """Count no longer how long nobody uses it."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Resident(NamedTuple):
    """A model that is loaded."""

    plan: Plan
    context_tokens: int
    template: str | None
    """Its chat template, Jinja source."""
    expires_in_s: float
    """When it is unloaded if nobody asks for it; infinite: when another needs the memory."""


def describe_resident(held: Held) -> Resident:
    """A loaded model, with when it goes."""
    loaded = held.session.loaded
    if held.timer is not None and held.active == 0:
        end_s = max(0.0, held.timer.when() - asyncio.get_running_loop().time())
    else:
        end_s = math.inf if held.keep_s is None else held.keep_s
    return Resident(held.session.plan, loaded.context_tokens, loaded.template, end_s)


State = Literal["loading", "idle", "answering"]


class Shown(NamedTuple):
    """A model that is loaded or being loaded, for people and programs; times are in seconds since 1970."""

    name: str
    build: str
    task: str
    state: State
    runtime: str
    engine: str | None
    device: str
    """In the engine's own words; while it loads, where it will be."""
    context_tokens: int | None
    quantization: str | None
    memory_bytes: int | None
    """What it needs, as planned."""
    since_s: float | None
    used_s: float | None
    expires_in_s: float | None
    """`None`: it does not, or not yet."""
    pinned: bool
    active: int
    """Requests that are being answered."""
    waiting: int


def show_held(key: Key, held: Held, waiting: int) -> Shown:
    """A loaded model."""
    plan, loaded = held.session.plan, held.session.loaded
    expires_in_s = None if held.timer is None else max(0.0, held.timer.when() - asyncio.get_running_loop().time())
    return Shown(
        name=key.model,
        build=key.variant,
        task=key.task,
        state="answering" if held.active else "idle",
        runtime=key.runtime,
        engine=f"{loaded.engine} {loaded.engine_version}",
        device=loaded.device,
        context_tokens=loaded.context_tokens or None,
        quantization=plan.variant.quantization,
        memory_bytes=plan.need.total_bytes if plan.need else None,
        since_s=held.since_s,
        used_s=held.used_at_s,
        expires_in_s=expires_in_s,
        pinned=held.pinned,
        active=held.active,
        waiting=waiting,
    )


def show_loading(key: Key, plan: Plan | None, waiting: int) -> Shown:
    """A model that is being loaded; its plan may not stand yet."""
    return Shown(
        name=key.model,
        build=key.variant,
        task=key.task,
        state="loading",
        runtime=key.runtime,
        engine=None,
        device=(plan.device_name if plan else None) or key.placement,
        context_tokens=plan.context_tokens if plan else None,
        quantization=plan.variant.quantization if plan else None,
        memory_bytes=plan.need.total_bytes if plan and plan.need else None,
        since_s=None,
        used_s=None,
        expires_in_s=None,
        pinned=False,
        active=0,
        waiting=waiting,
    )
