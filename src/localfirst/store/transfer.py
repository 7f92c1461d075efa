"""The bytes of one file: fetched, resumed, verified, and only then given their name.

Ours rather than huggingface_hub's because 2.4.0 starts again after its process ends, gives up on a TCP reset or an
expired address, and accepts any bytes of the right number: 40 random kills of a 64 MiB download never finished.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError, NetworkError
from localfirst.store.disk import explained
from localfirst.store.part import Part
from localfirst.store.wire import Limits, Retry, Source, Wire
from localfirst.types import InstalledFile
from localfirst.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from localfirst.store.endpoint import Endpoint
    from localfirst.store.listing import HubFile
    from localfirst.store.progress import Meter

_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file comes from and where it goes."""

    repo: str
    commit: str
    folder: Path
    """The files' paths start here."""
    partial: Path
    """Unfinished files."""


class Transfer:
    """A connection to a hub, used for one file after another."""

    def __init__(self, endpoint: Endpoint, meter: Meter, limits: Limits) -> None:
        self._endpoint = endpoint
        self._meter = meter
        self._limits = limits
        self._wire = Wire(endpoint, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def fetch(self, file: HubFile, place: Place) -> InstalledFile:
        """Fetch a file, going on where an earlier process stopped; its name appears only when its digest is right.

        Raises:
            NetworkError: no progress in `Limits.tries` attempts; what there is is kept.
            IntegrityError: the bytes are wrong, twice; nothing is kept.
            DiskFullError, StoreError: they cannot be written; what there is is kept.
            LicenseError, UnknownNameError: the hub refuses.
        """
        with explained(place.partial):
            place.partial.mkdir(parents=True, exist_ok=True)
            with Part(place.partial, file, self._meter) as part:
                resumed = part.offset > 0
                for _ in range(3 if resumed else 2):
                    self._fill(part, place)
                    problem = part.find_problem()
                    if problem is None:
                        digest = part.finish(place.folder / file.path)
                        return InstalledFile(file.path, file.size_bytes, digest)
                    part.reset()
                    self._meter.notice(f"{file.path} arrived damaged; fetching it again")
                part.discard()
        raise IntegrityError(
            f"{file.path} of `{place.repo}` is not the file that was announced",
            detail=problem,
            hint=f"Nothing was kept. Look at {self._endpoint.repo_url(place.repo)}, or try another network.",
        )

    def _fill(self, part: Part, place: Place) -> None:
        """Append to a part until it is complete.

        Progress is a longer part than ever before: a server that always starts again and breaks at the same byte
        brings nothing new.
        """
        longest, failures = part.offset, 0
        while not part.is_complete:
            try:
                self._append(part, place)
            except Retry as retry:
                if part.offset > longest and not retry.stuck:
                    failures = 0
                longest = max(longest, part.offset)
                failures += 1
                if failures >= self._limits.tries:
                    raise self._give_up(part, retry) from retry
                self._wait(retry, failures)

    def _append(self, part: Part, place: Place) -> None:
        url = self._endpoint.file_url(place.repo, place.commit, part.file.path)
        source = Source(part.file, url, self._endpoint.repo_url(place.repo))
        with self._wire.open_reply(source, part.offset, part.etag) as reply:
            if reply.start == 0:
                if part.offset:
                    self._meter.notice(f"{part.file.path} begins again: the server does not resume")
                    part.reset()
                part.remember_etag(reply.etag)
            for block in reply.blocks:
                part.append(block)
                if part.is_complete:
                    return
        if not part.is_complete:
            raise Retry(f"the connection ended after {format_bytes(part.offset)}")

    def _wait(self, retry: Retry, failures: int) -> None:
        wait_s = retry.wait_s
        if wait_s is None:
            longest = min(self._limits.backoff_max_s, self._limits.backoff_s * 2 ** (failures - 1))
            wait_s = _RANDOM.uniform(longest / 2, longest)
        self._meter.notice(f"{retry.cause}; trying again in {format_seconds(wait_s)}")
        time.sleep(wait_s)

    def _give_up(self, part: Part, retry: Retry) -> NetworkError:
        kept = f"{format_bytes(part.offset)} of {format_bytes(part.file.size_bytes)} are kept"
        return NetworkError(
            f"{part.file.path} cannot be fetched from {self._endpoint.host}",
            detail=f"{retry.cause}\n{self._limits.tries} attempts without progress; {kept}.",
            hint="Check the connection and run the same command again; it goes on where it stopped.",
        )
