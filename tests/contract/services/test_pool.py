"""The pool of loaded models with real workers, on machines whose memory the tests decide."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from tests.fixtures.engines import need_engine
from tests.fixtures.scripted import Shape, make_gguf

from localfirst.conversation import Answer, Message, Sampling
from localfirst.errors import ContextError, CrowdedError, NoFitError, ServerError, WorkerCrashError
from localfirst.hwprobe.probe import probe
from localfirst.server.asked import Loading
from localfirst.services.importing import import_model
from localfirst.services.planning import plan_model
from localfirst.services.serving.pool import Pool
from localfirst.services.session import Session
from localfirst.types import Machine, Wanted
from localfirst.worker import protocol
from localfirst.worker.holder import Heard

WANTED = Wanted(context_tokens=65_536)
"""An answer of that length takes longer than a test."""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("xllamacpp")
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    for name in ("one", "two", "three"):
        make_gguf(tmp_path / f"{name}.gguf", "round and round ", loop=True, shape=Shape(context=65536))
        import_model(tmp_path / f"{name}.gguf", name, copy=False, report=lambda _: None)


def find_need() -> int:
    """Bytes that each of the models needs."""
    return plan_model("one", WANTED).resolution.chosen.need.total_bytes


def see_room_for(models: float) -> Callable[[], Machine]:
    """A machine like this one, on which so many of the models fit."""
    here = probe()
    margin = here.memory.available_bytes - plan_model("one", WANTED, here).resolution.chosen.free_bytes
    free = int(models * find_need()) + margin
    return lambda: here._replace(memory=here.memory._replace(available_bytes=free))


class Answering(NamedTuple):
    """The work of one answer."""

    tokens: int
    said: str = "hi"

    def make_requests(self, _: Session) -> list[protocol.Request]:
        return [protocol.Chat((Message("user", self.said),), Sampling(temperature=0), self.tokens)]

    def take(self, _: int, heard: Heard) -> list[Heard]:
        return [heard]


async def ask(pool: Pool, name: str) -> None:
    lease = await pool.begin(name, "chat", Answering(2))
    async with lease.job as job:
        pieces = [piece async for piece in job]
    assert isinstance(pieces[-1], Answer)


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(20_000):
        if is_so():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not come to be")


def names(pool: Pool) -> list[str]:
    return [plan.model.name for plan in pool.loaded]


def run(see: Callable[[], Machine], test: Callable[[Pool], Awaitable[None]], **options: Any) -> list[str]:
    told: list[str] = []

    async def main() -> None:
        pool = Pool(WANTED, see=see, tell=told.append, **options)
        try:
            await test(pool)
        finally:
            await pool.close(10)

    asyncio.run(main())
    return told


def test_what_was_used_least_recently_goes_when_another_needs_its_memory() -> None:
    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        await ask(pool, "two")
        assert names(pool) == ["one", "two"]
        await ask(pool, "one")
        await ask(pool, "three")
        assert names(pool) == ["one", "three"]

    told = run(see_room_for(2.5), test)
    assert [line.split()[:2] for line in told[:4]] == [
        ["Loaded", "one"],
        ["Loaded", "two"],
        ["Unloaded", "two"],
        ["Loaded", "three"],
    ]


def test_what_is_answering_never_goes_and_the_next_is_told_to_come_again() -> None:
    async def test(pool: Pool) -> None:
        lease = await pool.begin("one", "chat", Answering(60_000))
        async with lease.job as job:
            await anext(job)
            with pytest.raises(CrowdedError, match="no memory for `two`"):
                await ask(pool, "two")
            assert names(pool) == ["one"]
        await until(lambda: not pool._jobs)
        await ask(pool, "two")
        assert names(pool) == ["two"]

    run(see_room_for(1.5), test)


def test_a_model_that_does_not_fit_alone_unloads_nothing() -> None:
    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        pool._probe = see_room_for(-0.5)
        with pytest.raises(NoFitError):
            await ask(pool, "two")
        assert names(pool) == ["one"]

    run(see_room_for(1.5), test)


def test_several_that_ask_for_one_model_at_once_load_it_once_by_whatever_name() -> None:
    async def test(pool: Pool) -> None:
        await asyncio.gather(*(ask(pool, name) for name in ("one", "one#llama.cpp", "one@f32", "one")))
        assert names(pool) == ["one"]

    told = run(see_room_for(3.5), test)
    assert sum(line.startswith("Loaded") for line in told) == 1


def test_what_is_kept_for_no_time_is_loaded_for_each_request() -> None:
    async def test(pool: Pool) -> None:
        for _ in range(2):
            await ask(pool, "one")
            await until(lambda: not pool.loaded)

    told = run(see_room_for(3.5), test, keep_alive_s=0)
    assert [line.split()[0] for line in told] == ["Loaded", "Unloaded"] * 2


def test_a_request_says_how_long_its_model_stays_until_another_does() -> None:
    async def stay(pool: Pool, keep_alive_s: float | None) -> float:
        lease = await pool.begin("one", "chat", Loading(), keep_alive_s)
        async with lease.job as job:
            assert [piece async for piece in job] == []
        await until(lambda: not pool._jobs)
        return pool.residents[0].expires_in_s

    async def test(pool: Pool) -> None:
        assert 59 < await stay(pool, None) <= 60
        assert 6 < await stay(pool, 7) <= 7
        assert 6 < await stay(pool, None) <= 7
        assert await stay(pool, math.inf) == math.inf
        assert await stay(pool, None) == math.inf
        pool.expire("one", "another build")
        pool.expire("two")
        assert names(pool) == ["one"]
        pool.expire("one")
        await until(lambda: not pool.loaded)
        assert 59 < await stay(pool, None) <= 60

    run(see_room_for(3.5), test, keep_alive_s=60)


def test_what_is_let_go_while_it_answers_goes_when_it_has() -> None:
    async def test(pool: Pool) -> None:
        lease = await pool.begin("one", "chat", Answering(60_000))
        async with lease.job as job:
            await anext(job)
            pool.expire("one")
            assert pool.residents[0].expires_in_s == 0
            await asyncio.sleep(0.1)
            assert names(pool) == ["one"]
        await until(lambda: not pool.loaded)

    run(see_room_for(3.5), test, keep_alive_s=None)


def test_what_is_loaded_for_whoever_has_left_goes_in_time() -> None:
    async def test(pool: Pool) -> None:
        asked = asyncio.create_task(ask(pool, "one"))
        await until(lambda: pool._loading)
        asked.cancel()
        await until(lambda: not pool._loading)
        await until(lambda: not pool.loaded)

    told = run(see_room_for(3.5), test, keep_alive_s=0.1)
    assert [line.split()[0] for line in told] == ["Loaded", "Unloaded"]


def test_whoever_leaves_while_it_is_loaded_keeps_nobody_else_from_it() -> None:
    async def test(pool: Pool) -> None:
        first = asyncio.create_task(ask(pool, "one"))
        await until(lambda: pool._loading)
        first.cancel()
        await ask(pool, "one")

    told = run(see_room_for(3.5), test)
    assert sum(line.startswith("Loaded") for line in told) == 1


def test_a_pool_that_closes_ends_what_is_answered_and_takes_no_more() -> None:
    async def test(pool: Pool) -> None:
        lease = await pool.begin("one", "chat", Answering(60_000))
        async with lease.job as job:
            await anext(job)
            await pool.close(10)
            with pytest.raises(ServerError):
                async for _ in job:
                    pass
        with pytest.raises(ServerError):
            await ask(pool, "one")
        assert names(pool) == []

    run(see_room_for(3.5), test)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
@pytest.mark.parametrize("letters", [10, 1_000_000], ids=["at once", "by a thread of its own"])
def test_a_worker_that_reads_nothing_keeps_nobody_else_waiting(letters: int) -> None:
    """A pipe takes 64 KB, and then whoever writes to it has to wait."""

    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        (held,) = pool._held.values()
        process = psutil.Process(held.session.worker.pid)
        process.suspend()
        rescue = threading.Timer(10, process.resume)  # of a loop that waits
        rescue.start()
        asked = asyncio.create_task(pool.begin("one", "chat", Answering(1, "x" * letters)))
        await asyncio.sleep(0.2)
        assert process.status() == psutil.STATUS_STOPPED
        assert not asked.done()
        rescue.cancel()
        process.resume()
        lease = await asked
        async with lease.job as job:
            if letters > WANTED.context_tokens:
                with pytest.raises(ContextError):
                    await anext(job)
            else:
                assert isinstance([piece async for piece in job][-1], Answer)

    run(see_room_for(3.5), test)


def test_a_request_left_before_it_was_sent_whole_ends() -> None:
    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        (held,) = pool._held.values()
        process = psutil.Process(held.session.worker.pid)
        process.suspend()
        asked = asyncio.create_task(pool.begin("one", "chat", Answering(60_000, "x" * 60_000)))
        await until(lambda: pool._jobs)
        (job,) = pool._jobs
        job.leave()
        process.resume()
        await asked
        await until(lambda: not pool._jobs)
        assert held.session.alive

    run(see_room_for(3.5), test)


@pytest.mark.parametrize("before", [0, 1], ids=["before its first request", "between two of its requests"])
def test_a_worker_that_dies_before_it_is_asked_gives_its_place_back(before: int) -> None:
    class Killing(NamedTuple):
        """Answers, the worker of which dies once, before one of them."""

        deaths: list[int]

        def make_requests(self, session: Session) -> Iterator[protocol.Request]:
            for index in range(2):
                if index == before and not self.deaths:
                    self.deaths.append(index)
                    process = psutil.Process(session.worker.pid)
                    process.kill()
                    while session.alive:
                        time.sleep(0.01)
                yield from Answering(2).make_requests(session)

        def take(self, _: int, heard: Heard) -> list[Heard]:
            return [heard]

    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        lease = await pool.begin("one", "chat", Killing([]))
        async with lease.job as job:
            if before:
                with pytest.raises(WorkerCrashError):
                    [piece async for piece in job]
            else:
                assert sum(isinstance(piece, Answer) for piece in [one async for one in job]) == 2
        assert not pool._jobs
        await ask(pool, "one")

    told = run(see_room_for(3.5), test)
    assert sum(line.startswith("Loaded") for line in told) == 2


def test_a_mistake_with_what_was_heard_frees_the_place_when_the_worker_is_free() -> None:
    class Failing(Answering):
        def take(self, _: int, heard: Heard) -> list[Heard]:
            raise ValueError(type(heard).__name__)

    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        (held,) = pool._held.values()
        ends: list[str] = []
        held.session.observe = lambda answer: ends.append(answer.finish_reason)
        lease = await pool.begin("one", "chat", Failing(60_000))
        async with lease.job as job:
            with pytest.raises(ValueError, match="TextDelta"):
                await anext(job)
        await until(lambda: not pool._jobs)
        assert ends == ["cancelled"]

    run(see_room_for(3.5), test)


def test_what_was_sent_by_a_thread_that_says_so_late_leaves_the_next_request_to_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Twice(NamedTuple):
        def make_requests(self, session: Session) -> Iterator[protocol.Request]:
            yield from Answering(1, "x" * 10_000).make_requests(session)
            yield from Answering(60_000).make_requests(session)

        def take(self, index: int, _: Heard) -> list[int]:
            return [index]

    async def test(pool: Pool) -> None:
        await ask(pool, "one")
        (held,) = pool._held.values()
        worker, late = held.session.worker, threading.Event()

        def send(request: protocol.Request, number: int) -> None:
            type(worker).send(worker, request, number)
            late.wait(20)

        monkeypatch.setattr(worker, "send", send)
        lease = await pool.begin("one", "chat", Twice())
        async with lease.job as job:
            while not await anext(job):
                pass
            late.set()
        await until(lambda: not pool._jobs)
        assert held.session.alive

    run(see_room_for(3.5), test)
