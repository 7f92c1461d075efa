"""The bytes of one file: fetched in parts side by side, resumed, verified, and only then given their name.

Ours rather than huggingface_hub's because 2.4.0 starts again after its process ends, gives up on a TCP reset or an
expired address, and accepts any bytes of the right number: 40 random kills of a 64 MiB download never finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError
from localfirst.store.disk import explained
from localfirst.store.net.wire import Limits, Source, Wire
from localfirst.store.transfer.download import Download
from localfirst.store.transfer.part import Part
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from localfirst.lock import Lease
    from localfirst.store.listing import HubFile
    from localfirst.store.net.endpoint import Endpoint
    from localfirst.store.progress import Meter


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file comes from and where it goes."""

    repo: str
    commit: str
    folder: Path
    """The files' paths start here."""
    partial: Path
    """Unfinished files."""
    trails: Path
    """The trails of finished files' hashes."""


class Transfer:
    """Connections to a hub, used for one file after another."""

    def __init__(self, endpoint: Endpoint, meter: Meter, limits: Limits, lease: Lease) -> None:
        self._endpoint = endpoint
        self._meter = meter
        self._limits = limits
        self._lease = lease

    def __enter__(self) -> Self:
        self._wire = Wire(self._endpoint, self._limits)
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
            LeaseLostError: another process has taken over.
        """
        url = self._endpoint.file_url(place.repo, place.commit, file.path)
        source = Source(file, url, self._endpoint.repo_url(place.repo))
        with explained(place.partial):
            place.partial.mkdir(parents=True, exist_ok=True)
            with Part(place.partial, file, self._meter) as part:
                for _ in range(3 if part.inherited_bytes else 2):
                    while part.find_gaps():
                        Download(part, source, self._wire, self._limits, self._meter).run(self._lease)
                    problem = part.find_problem()
                    self._lease.check()
                    if problem is None:
                        digest = part.finish(place.folder / file.path, place.trails)
                        return InstalledFile(file.path, file.size_bytes, digest)
                    what = "is damaged" if part.inherited_bytes else "arrived damaged"
                    part.reset()
                    self._meter.notice(f"{file.path} {what}; fetching it again")
                part.discard()
        raise IntegrityError(
            f"{file.path} of `{place.repo}` is not the file that was announced",
            detail=problem,
            hint=f"Nothing was kept. Look at {self._endpoint.repo_url(place.repo)}, or try another network.",
        )
