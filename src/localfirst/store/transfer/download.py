"""Fill the gaps of one part: several connections write, the calling thread hashes what has become whole and watches.

The first connection goes alone until a range was answered by a range; then others join it, where the network and not
this computer is what keeps it. Where a server ignores ranges, it stays alone and the file comes as one stream.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from contextlib import closing, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from localfirst.errors import NetworkError
from localfirst.store.listing import Gap
from localfirst.store.net.wire import Retry
from localfirst.store.transfer.journal import BLOCK_BYTES
from localfirst.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from localfirst.lock import Lease
    from localfirst.store.net.wire import Limits, Reply, Source, Wire
    from localfirst.store.progress import Meter
    from localfirst.store.transfer.part import Part

_RANDOM = random.SystemRandom()
_WATCH_S = 0.1
"""How long nothing is waited for without a look at the lease, the silence and the rate."""
_STALL_S = 5.0
"""Silence after which it is said that nothing comes."""
_SYNC_EVERY_S = 0.05
"""How often it is looked whether enough has come to be made durable."""
_ENOUGH_BYTES_PER_S = 400_000_000
"""What one processor core hashes at the least; of what comes faster, more connections bring no more."""
_JOIN_S = 1.0


class _Stopped(Exception):  # noqa: N818 (no failure: somebody else has decided to end)
    """The download ends; write nothing more."""


class Download:
    """One filling of a part; `run` returns when no byte is missing."""

    def __init__(self, part: Part, source: Source, wire: Wire, limits: Limits, meter: Meter) -> None:
        self._part = part
        self._source = source
        self._wire = wire
        self._limits = limits
        self._meter = meter
        self._gaps = deque(_cut(part.find_gaps(), limits))
        self._changed = threading.Condition()
        self._news = threading.Event()
        """A block has become whole, or a connection has ended: who hashes waits for it."""
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._ended = False
        self._failure: BaseException | None = None
        self._most_bytes = part.present_bytes
        self._quiet_since = time.monotonic()
        self._said_silence = False
        self._takes_ranges = False
        self._has_called = False

    def run(self, lease: Lease) -> None:
        """Fetch what is missing.

        Raises:
            NetworkError: no progress.
            OSError: the bytes cannot be written.
            LicenseError, UnknownNameError, NetworkError: the hub refuses.
            LeaseLostError: another process has taken over.
        """
        if not self._gaps:
            return
        try:
            self._start(self._connect)
            self._start(self._sync_now_and_then, counts=False)
            self._watch(lease)
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure

    def _start(self, target: Callable[[], None], *, counts: bool = True) -> None:
        self._working += counts
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _end(self) -> None:
        """Let nobody write any more. Who still waits for an answer is left to find out by itself."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._working:
            self._wire.wake()
        until = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _watch(self, lease: Lease) -> None:
        """Hash what becomes whole until all connections have ended, or nothing happens any more."""
        looked, before = time.monotonic(), self._part.present_bytes
        while True:
            lease.beat()
            working = self._working  # looked at first: what a connection wrote before it ended is then hashed below
            if self._part.hash_ready():
                continue
            if not working:
                break
            self._news.wait(_WATCH_S)
            self._news.clear()
            now, present = time.monotonic(), self._part.present_bytes
            if now - looked >= _WATCH_S:
                with self._changed:
                    if self._takes_ranges and present - before < _ENOUGH_BYTES_PER_S * (now - looked):
                        self._call_others()
                looked, before = now, present
            quiet_s = time.monotonic() - self._quiet_since
            if quiet_s > self._limits.silence_s:
                raise self._give_up(f"nothing happened for {format_seconds(quiet_s)}")
            if quiet_s > _STALL_S and not self._said_silence:
                self._said_silence = True
                self._meter.stall(quiet_s)

    def _sync_now_and_then(self) -> None:
        """Make durable while more is coming, so that the end has little left to wait for."""
        while not self._ended:
            with self._changed:
                self._changed.wait(_SYNC_EVERY_S)
            with suppress(OSError):  # said when the file is finished
                self._part.sync()

    def _connect(self) -> None:
        """One connection, from its first gap to its end."""
        failure: BaseException | None = None
        try:
            failure = self._fetch_gaps()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            failure = error
        with self._changed:
            self._working -= 1
            if isinstance(failure, Retry):  # others may do better; the last one speaks for all
                failure = None if self._working else self._give_up(failure.cause)
            self._failure = self._failure or failure
            self._ended = self._ended or failure is not None
            self._changed.notify_all()
        self._news.set()

    def _fetch_gaps(self) -> Retry | None:
        """Fetch one gap after another, until none is left or this connection brings nothing any more."""
        failures = 0
        while (gap := self._take()) is not None:
            try:
                self._fetch(gap)
                failures = 0
            except Retry as retry:
                failures = 1 if self._has_come_further(gap) and not retry.stuck else failures + 1
                if failures >= self._limits.tries:
                    return retry
                self._wait(retry, failures)
        return None

    def _take(self) -> Gap | None:
        with self._changed:
            return self._gaps.popleft() if self._gaps and not self._ended else None

    def _has_come_further(self, gap: Gap) -> bool:
        """Whether a failed attempt at a gap brought bytes, and the part has more of them than ever.

        A server that always starts again and breaks at the same byte brings nothing new.
        """
        with self._changed:
            most, self._most_bytes = self._most_bytes, max(self._most_bytes, self._part.present_bytes)
            return gap not in self._gaps and self._most_bytes > most

    def _fetch(self, gap: Gap) -> None:
        """Write the bytes of a gap.

        Raises:
            Retry: not all of them came; the rest is a gap again.
        """
        self._quiet_since = time.monotonic()
        left = gap
        try:
            with self._wire.open_reply(self._source, gap, self._part.etag) as reply:
                left = self._accept(reply, gap)
                with self._part.open_writer(left) as writer, closing(reply.read_blocks()) as blocks:
                    for block in blocks:
                        if self._ended:
                            raise _Stopped
                        writer.write(block)
                        if left.start // BLOCK_BYTES < writer.offset // BLOCK_BYTES:
                            self._news.set()
                        left = Gap(writer.offset, left.end)
                        self._quiet_since, self._said_silence = time.monotonic(), False
                        if not left.size_bytes:
                            return
        finally:
            if left.size_bytes:
                with self._changed:
                    self._gaps.appendleft(left)
        raise Retry(f"the connection ended after {format_bytes(self._part.present_bytes)}")

    def _accept(self, reply: Reply, gap: Gap) -> Gap:
        """What the bytes of an answer fill: the gap, or the whole file where ranges are ignored.

        Raises:
            Retry: the answer is of no use to a connection that has company, or is about other bytes.
        """
        with self._changed:
            if self._ended:
                raise _Stopped
            if reply.is_range:
                if self._part.etag is None:
                    self._part.remember_etag(reply.etag)
                self._takes_ranges = True
                return gap
            if self._working > 1:
                raise Retry("the server sends the whole file to a connection that asked for a part")
        if self._part.present_bytes:
            if self._part.etag not in {None, reply.etag}:  # another copy of the same file, as the digest will tell
                self._part.remember_etag(None)
                raise Retry("the server has another copy of the file than before", 0.0)
            self._meter.notice(f"{self._source.file.path} begins again: the server does not resume")
            self._part.reset()
        self._part.remember_etag(reply.etag)
        self._gaps.clear()
        return Gap(0, self._source.file.size_bytes)

    def _call_others(self) -> None:
        """Let as many connections help as there are gaps for, once."""
        if not self._has_called:
            self._has_called = True
            for _ in range(min(self._limits.connections - 1, len(self._gaps))):
                self._start(self._connect)

    def _wait(self, retry: Retry, failures: int) -> None:
        wait_s = retry.wait_s
        if wait_s is None:
            longest = min(self._limits.backoff_max_s, self._limits.backoff_s * 2 ** (failures - 1))
            wait_s = _RANDOM.uniform(longest / 2, longest)
        self._quiet_since = time.monotonic() + wait_s
        if wait_s:
            self._meter.retry(retry.cause, wait_s)
        with self._changed:
            self._changed.wait_for(lambda: self._ended, wait_s)

    def _give_up(self, cause: str) -> NetworkError:
        file, host = self._source.file, self._wire.host
        kept = f"{format_bytes(self._part.present_bytes)} of {format_bytes(file.size_bytes)} are kept"
        return NetworkError(
            f"{file.path} cannot be fetched from {host}",
            detail=f"{cause}\n{self._limits.tries} attempts without progress; {kept}.",
            hint="Check the connection and run the same command again; it goes on where it stopped.",
        )


def _cut(gaps: Iterable[Gap], limits: Limits) -> Iterator[Gap]:
    """The gaps in pieces for one request each, parted where blocks of the journal are."""
    gaps = tuple(gaps)
    share = -(-sum(gap.size_bytes for gap in gaps) // limits.connections)
    piece = max(limits.piece_min_bytes, min(limits.piece_max_bytes, share))
    for start, end in gaps:
        first = (start + max(piece, BLOCK_BYTES)) // BLOCK_BYTES * BLOCK_BYTES
        edges = (start, *range(first, end, max(piece // BLOCK_BYTES, 1) * BLOCK_BYTES), end)
        yield from (Gap(*pair) for pair in pairwise(edges))
