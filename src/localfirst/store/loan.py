"""Files of a repository for as long as something is made of them: fetched as those of a model, and recorded as none."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from localfirst.store import layout, removal
from localfirst.store.claim import claim
from localfirst.store.disk import explained
from localfirst.store.net.wire import Limits
from localfirst.store.progress import ignore
from localfirst.store.pull import Job, fetch_files, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localfirst.lock import Lease
    from localfirst.store.listing import Listing
    from localfirst.types import InstalledFile, Model, Progress, Variant


class Loan:
    """Files of a repository that are to become something else: in the store, verified, and recorded as no model.

    What an interrupted command has fetched is used again, and `lf store gc` takes it for what it is: unfinished.
    """

    def __init__(self, job: Job, folder: Path, lease: Lease) -> None:
        """Of the variant of a job, in its folder, whose lock is held."""
        self._job, self._folder, self._lease = job, folder, lease
        self.root = folder / layout.FILES
        self.begun = folder.exists()
        """Whether an earlier command has left some of them here."""

    def fetch(self, paths: Sequence[str], report: Callable[[Progress], None]) -> tuple[InstalledFile, ...]:
        """These files, with their digests.

        Raises:
            NetworkError, DiskFullError, IntegrityError, LicenseError, UnknownNameError: as `pull`.
        """
        files = tuple(file for file in self._job.variant.files if file.path in paths)
        job = replace(self._job, variant=self._job.variant._replace(files=files))
        return fetch_files(job, self._folder, report, self._lease)

    def end(self) -> None:
        """Remove the files: what was made of them is there.

        Raises:
            StoreError: something cannot be removed.
        """
        with explained(self._folder):
            removal.remove_folder(self._folder)


@contextmanager
def borrow(
    model: Model,
    variant: Variant,
    listing: Listing,
    *,
    report: Callable[[Progress], None] = ignore,
) -> Iterator[Loan]:
    """Borrow the files of a variant from its repository's listing; another process that wants them waits.

    Raises:
        StoreError: the store cannot be written.
    """
    job = plan(model, variant, report, Limits(), listing)
    with claim(lambda: job.folder, model.name, report) as (folder, lease):
        yield Loan(job, folder, lease)
