"""The models that are loaded: on first use, one worker each, as many as fit, the least recently used gone first.

Lives in one event loop, so that nothing here needs a lock; what blocks runs in threads (`job.in_thread`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from localfirst.errors import (
    BrokenModelError,
    BusyError,
    CrowdedError,
    ServerError,
    UnknownNameError,
    UnloadedError,
    WorkerCrashError,
    WrongTaskError,
)
from localfirst.hwprobe.probe import probe
from localfirst.services.planning import NOTHING_WANTED, plan_fetch
from localfirst.services.preparing import Allowed, ignore
from localfirst.services.serving import memory, shelf
from localfirst.services.serving.held import Held, Key, Resident, Shown, describe_resident, show_held, show_loading
from localfirst.services.serving.job import Inbox, Job, Piece, Work, in_thread
from localfirst.services.serving.meter import Meter
from localfirst.services.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.errors import LfError
    from localfirst.types import Machine, Plan, Task, Wanted

LOCAL = Allowed(network=False, install=False)
"""No request fetches or installs anything: that takes gigabytes, and is the machine's owner to decide."""
REPLACEMENTS = 3
REPLACEMENTS_WITHIN_S = 300.0
"""How often a worker that died is replaced; a model that goes on killing them is left alone for a while."""
WAITING_MOST = 32
"""Requests that may wait for one model."""
STOPPING = ServerError("The server is stopping")
UNLOADED = UnloadedError("The model was unloaded by who runs this server")


class Lease(NamedTuple):
    """A request that is being answered: what by, and the pieces as they come."""

    plan: Plan
    job: Job[Any]


class _Death(NamedTuple):
    at_s: float
    reason: str


class Pool:
    """Answers requests by models that it loads and unloads."""

    def __init__(
        self,
        wanted: Wanted = NOTHING_WANTED,
        *,
        keep_alive_s: float | None = 300.0,
        waiting_most: int = WAITING_MOST,
        see: Callable[[], Machine] = probe,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Load nothing yet.

        Args:
            wanted: how every model is loaded.
            keep_alive_s: how long one that nobody uses stays loaded; `None`: until another needs the memory.
            waiting_most: requests that may wait for one model.
            see: how to look at this machine.
            tell: told when a model comes and goes.
        """
        self.wanted = wanted
        self._keep_alive_s, self._waiting_most = keep_alive_s, waiting_most
        self._probe, self._tell = see, tell
        self.meter = Meter()
        self._machine: Machine | None = None
        self._held: dict[Key, Held] = {}
        self._loading: dict[Key, asyncio.Task[Held]] = {}
        self._claims: dict[object, Plan] = {}
        """What is or will be in memory, by who holds it: a model that is being loaded by its key."""
        self._names: dict[tuple[str, Task], Key] = {}
        """What names were found to mean, as long as it is loaded."""
        self._waiting: Counter[Key] = Counter()
        self._deaths: dict[Key, deque[_Death]] = {}
        self._jobs: dict[Job[Any], Held] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unloading: dict[asyncio.Task[None], Held] = {}
        self._stopping = False

    @property
    def loaded(self) -> tuple[Plan, ...]:
        """What is loaded now."""
        return tuple(held.session.plan for held in self._held.values())

    @property
    def residents(self) -> tuple[Resident, ...]:
        """What is loaded now, with when it goes."""
        return tuple(map(describe_resident, self._held.values()))

    def expire(self, model: str, variant: str | None = None) -> None:
        """Let what is loaded of a model go as soon as nobody is answered by it."""
        for key, held in tuple(self._held.items()):
            if key.model == model and variant in {None, key.variant} and not held.pinned:
                held.keep_s = 0.0
                self._let_expire(key)

    def show(self) -> tuple[Shown, ...]:
        """What is loaded or being loaded."""
        loaded = [show_held(key, held, self._waiting[key]) for key, held in self._held.items()]
        return (*loaded, *(show_loading(key, self._claims.get(key), self._waiting[key]) for key in self._loading))

    async def begin(self, name: str, task: Task, work: Work[Piece], keep_alive_s: float | None = None) -> Lease:
        """Have `work` done by the model that a name means, loaded first where it is not; in turn.

        Returns when something comes of it. A worker that was dead before it took the work up is replaced. From then on
        it stays for `keep_alive_s` where nobody uses it; `None`: for as long as was said before.

        Raises:
            UnknownNameError: no model on this disk has the name.
            WrongTaskError: it is made for another task.
            BusyError: too many wait for it.
            CrowdedError: those who hold the memory are all answering.
            BrokenModelError: it has ended too many of its workers, or ends them while it is loaded.
            ServerError: the server is stopping.
            LfError: as planning and loading say.
        """
        begun = time.monotonic()
        while True:
            lease = await self._begin(name, task, work, keep_alive_s)
            try:
                if await lease.job.is_taken_up():
                    self.meter.count_first(lease.plan.model.name, time.monotonic() - begun)
                    return lease
            except BaseException:
                lease.job.leave()
                raise

    async def _begin(self, name: str, task: Task, work: Work[Piece], keep_alive_s: float | None) -> Lease:
        self._require_running()
        key = self._names.get((name, task))
        if key is None:
            key = await in_thread(partial(self._find_key, name, task))
        if self._waiting[key] >= self._waiting_most:
            raise BusyError(f"{self._waiting[key]} requests wait for `{key.model}` already")
        self._waiting[key] += 1
        try:
            held = await self._take(key, name)
        finally:
            self._waiting[key] -= 1
            self._let_expire(key)  # whoever it was loaded for may have left
        self._names[name, task] = key
        if keep_alive_s is not None and not held.pinned:
            held.keep_s = None if math.isinf(keep_alive_s) else keep_alive_s
        job = Job(held.session, work, held.inbox, partial(self._give_back, key, held))
        self._jobs[job] = held
        job.begin()
        return Lease(held.session.plan, job)

    async def load(self, name: str, keep_s: float | Literal["forever"] | None = None) -> Shown:
        """Load a model before anybody asks.

        Args:
            name: as for `begin`.
            keep_s: how long it stays when nobody uses it; `None`: as every model. `forever` pins it: it stays also when
                another needs the memory.

        Raises:
            LfError: as `begin`.
        """
        self._require_running()
        entry = await in_thread(partial(shelf.find_served, name))
        task: Task = "embedding" if entry.model.task == "embedding" else "chat"
        key = await in_thread(partial(self._find_key, name, task))
        held = self._held.get(key)
        if held is None:
            held = await self._await_load(key, name)
        if keep_s is not None:
            held.pinned, held.keep_s = keep_s == "forever", None if keep_s == "forever" else keep_s
        self._let_expire(key)
        return show_held(key, held, self._waiting[key])

    async def find_builds(self, model: str, task: Task) -> list[Held]:
        """What is loaded of a model, in whatever build; one that is being loaded is waited for."""
        if loading := [one for key, one in self._loading.items() if (key.model, key.task) == (model, task)]:
            await asyncio.wait(loading)
        found = [held for key, held in self._held.items() if (key.model, key.task) == (model, task)]
        return [held for held in found if held.session.alive]

    async def unload(self, name: str | None) -> list[str]:
        """Unload a model, or all; who is being answered is told. The names of those that were loaded.

        Raises:
            UnknownNameError: it is not loaded.
        """
        keys = list({**self._held, **self._loading}) if name is None else await self._find_loaded(name)
        for key in keys:
            if (loading := self._loading.get(key)) is not None:
                await asyncio.wait({loading})
            if (held := self._held.get(key)) is not None:
                for job in [one for one, other in self._jobs.items() if other is held]:
                    job.fail(UNLOADED)
                await self._drop(held)
        return [key.model for key in keys]

    async def _find_loaded(self, name: str) -> list[Key]:
        """The builds of a name that are loaded, or being loaded."""
        there = [*self._held, *self._loading]
        found = [key for key in there if name in {key.model, key.full_name}]
        if not found and (named := await in_thread(partial(shelf.find_variants, name))) is not None:
            found = [key for key in there if key.model == named.model and key.variant in named.variants]
        if not found:
            raise UnknownNameError(f"`{name[:80]}` is not loaded", hint="`lf ps` lists what is")
        return found

    async def close(self, timeout_s: float) -> None:
        """Fail what is being answered or waits, and end every worker, within `timeout_s` or by force."""
        self._stopping = True
        for loading in tuple(self._loading.values()):
            loading.cancel()  # its thread goes on, which the process does not wait for
        for job in tuple(self._jobs):
            job.fail(STOPPING)
        for held in tuple(self._held.values()):
            self._drop(held)
        if self._unloading:
            await asyncio.wait(self._unloading, timeout=timeout_s)
        for held in self._unloading.values():
            held.session.kill(STOPPING)

    def _require_running(self) -> None:
        if self._stopping:
            raise STOPPING

    def _find_key(self, name: str, task: Task) -> Key:
        """What a name means, and how it would be loaded."""
        entry = shelf.find_served(name)
        if (entry.model.task == "embedding") != (task == "embedding"):
            what = "turns texts into vectors and does not answer" if task == "chat" else "is no embedding model"
            raise WrongTaskError(f"`{entry.model.name}` {what}", hint="GET /v1/models lists the task of each model")
        wanted = self.wanted._replace(task=task)
        plan = plan_fetch(name, wanted, offline=True, report=ignore, see=self.see).resolution.chosen
        return Key(plan.model.name, plan.variant.name, plan.runtime.name if plan.runtime else "", plan.placement, task)

    def see(self) -> Machine:
        """This machine as if nothing of ours were loaded."""
        now, claims = self._probe(), tuple(self._claims.values())
        if self._machine is None or not claims:
            self._machine = now
        return memory.give_back(now, self._machine, claims)

    async def _take(self, key: Key, name: str) -> Held:
        """The loaded model, with one of its places taken."""
        while True:
            self._require_running()
            held = self._held.get(key)
            if held is None:
                held = await self._await_load(key, name)
            await held.free.acquire()
            if held.session.alive and held is self._held.get(key):
                held.active += 1
                return held
            held.free.release()
            self._bury(key, held)

    async def _await_load(self, key: Key, name: str) -> Held:
        loading = self._loading.get(key) or self._start(key, name)
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            if loading.cancelled():  # not whoever waits for it
                raise STOPPING from None
            raise

    def _start(self, key: Key, name: str) -> asyncio.Task[Held]:
        """Begin to load; whoever asks meanwhile waits for the same, which goes on when all of them have left."""
        self._loading[key] = task = self._spawn(self._load(key, name))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also where nobody waits
        return task

    async def _load(self, key: Key, name: str) -> Held:
        try:
            self._refuse_broken(key)
            loop = asyncio.get_running_loop()

            def admit(plan: Plan) -> None:
                asyncio.run_coroutine_threadsafe(self._make_room(key, plan), loop).result()

            session = await in_thread(
                lambda: open_session(
                    name, self.wanted._replace(task=key.task), allowed=LOCAL, chosen=admit, see=self.see
                )
            )
            places = asyncio.Semaphore(max(1, session.loaded.parallel))
            held = Held(session, places, Inbox(), self._keep_alive_s)
            session.worker.read_in(loop)
            self._claims[held] = self._claims.pop(key)
            self._held[key] = held
            session.observe = partial(self.meter.count_done, key.model)
            self._tell(f"Loaded {key.model} ({key.variant}, {key.runtime}) in {session.load_s:.1f} s")
            if self._stopping:
                self._drop(held)
                raise STOPPING
            self._let_expire(key)
        except WorkerCrashError as error:
            self._count_death(key, error)
            raise BrokenModelError(
                f"`{key.model}` ended its worker while it was loaded", detail=error.message, hint=error.hint
            ) from error
        else:
            return held
        finally:
            self._claims.pop(key, None)
            del self._loading[key]

    async def _make_room(self, key: Key, plan: Plan) -> None:
        """Unload what was used least recently until a plan fits; from then on it counts."""
        self._claims.pop(key, None)
        while not memory.fits(plan, tuple(self._claims.values()), self._seen):
            idle = [
                held
                for one, held in self._held.items()
                if held.active == 0
                and not held.pinned
                and not self._waiting[one]
                and memory.shares_memory(plan, held.session.plan, self._seen)
            ]
            if not idle and self._unloading:
                await asyncio.wait(self._unloading)
                continue
            if not idle:
                others = ", ".join(sorted({one.model.name for one in self._claims.values()}))
                raise CrowdedError(
                    f"There is no memory for `{key.model}` now: models that are answering, loading or pinned hold it",
                    detail=f"they are: {others}",
                )
            await self._drop(min(idle, key=lambda held: held.used_s))
        self._claims[key] = plan

    @property
    def _seen(self) -> Machine:
        assert self._machine is not None  # noqa: S101 - whoever has a plan has seen the machine
        return self._machine

    def _give_back(self, key: Key, held: Held, job: Job[Any]) -> None:
        """The worker is free again."""
        del self._jobs[job]
        held.active -= 1
        held.touch()
        held.free.release()
        if not held.session.alive:
            self._bury(key, held)
        self._let_expire(key)

    def _let_expire(self, key: Key) -> None:
        """Begin to count how long nobody uses a model, if nobody does."""
        held = self._held.get(key)
        if held is None:
            return
        held.stop_timer()
        if held.keep_s is not None and held.active == 0 and not self._waiting[key]:
            held.timer = asyncio.get_running_loop().call_later(held.keep_s, self._drop, held)

    def _bury(self, key: Key, held: Held) -> None:
        """Take away a model whose worker died, once."""
        if self._held.get(key) is held:
            self._count_death(key, error := held.session.explain_death())
            self._tell(f"The worker of {key.model} ended unexpectedly: {error.message}")
            self._drop(held)

    def _count_death(self, key: Key, error: LfError) -> None:
        deaths = self._deaths.setdefault(key, deque(maxlen=REPLACEMENTS + 1))
        deaths.append(_Death(time.monotonic(), error.message))

    def _refuse_broken(self, key: Key) -> None:
        deaths = self._deaths.get(key, deque())
        wait_s = deaths[0].at_s + REPLACEMENTS_WITHIN_S - time.monotonic() if len(deaths) > REPLACEMENTS else 0
        if wait_s > 0:
            raise BrokenModelError(
                f"`{key.model}` has ended {len(deaths)} workers within {REPLACEMENTS_WITHIN_S / 60:.0f} minutes, "
                f"and is not loaded again for {wait_s:.0f} s",
                detail=f"the last of them: {deaths[-1].reason}",
                hint=f"See how it ends: `lf run {key.model}@{key.variant}`",
            )

    def _drop(self, held: Held) -> asyncio.Task[None]:
        """Unload: from now on nobody is answered by it; the memory counts as taken until its process has ended."""
        key = next(one for one, other in self._held.items() if other is held)
        del self._held[key]
        self._names = {name: one for name, one in self._names.items() if one != key}
        held.stop_timer()
        task = self._spawn(self._unload(key, held))
        self._unloading[task] = held
        task.add_done_callback(self._unloading.pop)
        return task

    async def _unload(self, key: Key, held: Held) -> None:
        await in_thread(held.session.close)
        del self._claims[held]
        self._tell(f"Unloaded {key.model}")

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)
        return task
