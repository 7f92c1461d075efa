"""The store to another folder, so that at every moment one of the two has every model, whole.

1. Each model's folder is locked, if nobody fetches it, and put into the other place: its files by a second name (a hard
   link) where both are on one file system, else as copies with the digests of the manifest; the manifest last.
2. `store.json` is replaced: the switch. Until then the old place counts, from then on the new one.
3. Every lock of the old place is taken in turn. What was not taken along in step 1, since somebody was at work, is
   taken now; then the old bytes go. `claim` makes whoever waited for a lock look where the store is.

`store.json` also says what of this is left to do, so that it can be ended after a kill.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.errors import DiskFullError, IntegrityError, StoreError, UsageError
from localfirst.lock import is_busy
from localfirst.store import layout, manifest, pointer, removal
from localfirst.store.disk import check_space, explained, hash_file, sync_folder, write_atomically
from localfirst.store.lock import hold, try_hold
from localfirst.store.progress import Meter
from localfirst.store.transfer.copy import copy_file
from localfirst.store.transfer.part import detach
from localfirst.store.upkeep.survey import TEMPORARY, find_folders, find_temporary, prune
from localfirst.types import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from localfirst.store.progress import Report

LOCK = ".store.lock"
"""In the data folder: one move at a time."""
TAKEN = ".taken.json"
"""In the old place: the folders that the new one has had since the switch, and may have lost since then."""


class Moved(NamedTuple):
    """What a move did. `source` is `None` where the store was there already and nothing was left to do."""

    source: Path | None
    models: Path
    left: tuple[Path, ...] = ()
    """What stays in the old place, since it is not this program's."""


def move(target: Path, *, report: Report) -> Moved:
    """Move the store to a folder, which is made if need be; what a killed move has left to do is done first.

    Raises:
        UsageError: the folder has something else in it, or is inside the store.
        DiskFullError: not enough space there.
        IntegrityError: a model's files are not what its manifest says; nothing was moved.
        StoreError: one of the folders cannot be written, or the store is not there.
    """
    target = paths.expand(target).absolute()
    with _alone(report), _saying_what_is_kept(report):
        ended = _finish(report)
        note = pointer.read_note()
        pointer.require_present(note.models)
        if _is_same(target, note.models):
            return ended or Moved(None, note.models)
        _check_target(target, note)
        if note.target and note.target != target:
            _discard(note)
        fresh = note.fresh if note.target == target else not _list(target)
        _begin(note.models, target)
        with ExitStack() as locks:
            _take_all(note.models, target, fresh=fresh, locks=locks, report=report)
            pointer.write_note(pointer.Note(target, source=note.models))  # the switch
        return _finish(report) or Moved(note.models, target)


def finish(*, report: Report) -> Moved | None:
    """End a move that was killed: after the switch what is left to do, before it the copies go. `None`: there is none.

    Raises:
        StoreError: one of the folders cannot be written.
    """
    if pointer.read_note()[1:] == (None, None, False):
        return None
    with _alone(report):
        moved = _finish(report)
        note = pointer.read_note()
        if note.target:
            _discard(note)
            moved = moved or Moved(note.target, note.models)
        return moved


def is_moving() -> bool:
    """Whether a process is moving the store now."""
    return is_busy(paths.data_dir() / LOCK)


@contextmanager
def _saying_what_is_kept(report: Report) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        kept = "interrupted; every model is whole: run the same command again to go on, `lf store gc` to clean up"
        report(Progress("the store", 0, detail={"notice": kept}))
        raise


def _alone(report: Report) -> AbstractContextManager[object]:
    return hold(paths.data_dir() / LOCK, "the store", report)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one folder, also by another mount or another spelling of its name."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return one.resolve() == other.resolve()


def _list(folder: Path) -> list[Path]:
    """What is in a folder but for empty shells of ours."""
    if not folder.is_dir():
        return []
    ours = {layout.LOCKS, layout.MARK, TAKEN}
    return [path for path in folder.iterdir() if path.name not in ours and not path.name.endswith(TEMPORARY)]


def _check_target(target: Path, note: pointer.Note) -> None:
    with explained(target):
        if target.exists() and not target.is_dir():
            raise UsageError(f"{target} is not a folder")
        resolved = target.resolve()
        if any(_is_same(parent, note.models) for parent in (resolved, *resolved.parents)):
            raise UsageError(f"{target} is inside the store itself", detail=f"the store: {note.models}")
        if _list(target) and target not in {note.target, pointer.find_default()}:
            is_store = pointer.is_store(target)
            raise UsageError(
                f"{target} has another store, which may be in use" if is_store else f"{target} is not empty",
                detail=", ".join(sorted(path.name for path in _list(target))[:10]),
                hint=f"Name a folder for the models alone: `lf store move {target / 'lf-models'}`",
            )


def _begin(models: Path, target: Path) -> None:
    """Make sure that both places can be written, before anything is done."""
    with explained(target):
        target.mkdir(parents=True, exist_ok=True)
        pointer.mark(target)
    with explained(models):
        models.mkdir(parents=True, exist_ok=True)
        write_atomically(models / TAKEN, "[]")


def _take_all(models: Path, target: Path, *, fresh: bool, locks: ExitStack, report: Report) -> None:
    """Step 1. The locks are held until the switch."""
    with explained(models):
        folders = list(find_folders(models))
        files = [path for folder in folders for path in _find_files(folder)]
        size = sum(path.lstat().st_size for path in files)
        linked = _can_link(models, target)
        if not linked:
            there = sum(_measure(target / path.relative_to(models)) for path in files)
            _check_space(target, max(0, size - there))
    pointer.write_note(pointer.Note(models, target=target, fresh=fresh))
    meter = Meter("the store", size, report)
    taken = []
    for folder in folders:
        if locks.enter_context(try_hold(layout.find_lock(folder))) or _wait_for_model(folder, locks, report):
            _take(folder, models, target, linked=linked, meter=meter)
            taken.append(str(folder.relative_to(models).as_posix()))
    for name in layout.RECORDS:
        locks.enter_context(hold(layout.find_record_lock(models, name), name, report))
    if fresh:
        _drop_removed(models, target)
    with explained(models):
        for path in layout.find_records(models):
            write_atomically(target / path.name, path.read_text(encoding="utf-8"))
        write_atomically(models / TAKEN, json.dumps(taken))


def _drop_removed(models: Path, target: Path) -> None:
    """Take out of the new place what was removed from the old one since a killed move had brought it there."""
    with explained(target):
        there = {folder.relative_to(models) for folder in find_folders(models)}
        for folder in list(find_folders(target)):
            if folder.relative_to(target) not in there:
                removal.remove_tree(folder)


def _check_space(target: Path, needed_bytes: int) -> None:
    try:
        check_space(target, needed_bytes)
    except DiskFullError:
        with suppress(OSError):  # nothing has come there yet
            if not _list(target):
                (target / layout.MARK).unlink()
                target.rmdir()
        raise


def _wait_for_model(folder: Path, locks: ExitStack, report: Report) -> bool:
    """What is being fetched comes after the switch; a model must not be missing in the new place until then."""
    if not (folder / layout.MANIFEST).exists():
        return False
    locks.enter_context(hold(layout.find_lock(folder), folder.name, report))
    return True


def _finish(report: Report) -> Moved | None:
    """Step 3, if there has been a switch and it was not ended."""
    note = pointer.read_note()
    if note.source is None:
        return None
    models, source = note.models, note.source
    left: list[Path] = []
    if source.exists() and not _is_same(source, models):
        pointer.require_present(models)
        with explained(source):
            left = _empty(source, models, report)
    pointer.write_note(pointer.Note(models))
    return Moved(source, models, tuple(left))


def _empty(source: Path, models: Path, report: Report) -> list[Path]:
    taken = _read_taken(source)
    linked = _can_link(source, models)
    done = set[str]()
    while names := _find_names(source) - done:
        for name in sorted(names):
            folder = source / name
            with hold(layout.find_lock(folder), folder.name, report) as lease:
                if lease.taken_over:
                    detach(folder / layout.PARTIAL, lease.beat)
                if folder.is_dir() and name not in taken:
                    with hold(layout.find_lock(models / name), folder.name, report):
                        meter = Meter(folder.name, sum(_measure(path) for path in _find_files(folder)), report)
                        _take(folder, source, models, linked=linked, meter=meter)
                if folder.is_dir():
                    with suppress(FileNotFoundError):
                        (folder / layout.MANIFEST).unlink()
                        sync_folder(folder)
                    removal.remove_tree(folder)
                with suppress(OSError):  # Windows removes no open file
                    layout.find_lock(folder).unlink()
            for parent in (folder.parent, folder.parent.parent):
                with suppress(OSError):  # another model's folder is in it
                    parent.rmdir()
        done |= names
    for name in (*layout.WORKPLACES, *layout.RECORDS):
        with hold(layout.find_record_lock(source, name), name, report):
            removal.remove_tree(source / f".{name}")
            with suppress(OSError):  # Windows removes no open file
                layout.find_record_lock(source, name).unlink()
    prune(source, until=float("inf"))
    records = layout.find_records(source)
    for path in (*find_temporary(source), *records, source / TAKEN, source / layout.MARK):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # Windows removes no open file
        removal.remove_tree(source / layout.LOCKS)
    with suppress(OSError):  # something that is not ours
        source.rmdir()
    return sorted(_list(source))


def _find_names(source: Path) -> set[str]:
    """Folders of models in the old place, and those that somebody has a lock for and may just be about to make."""
    locks = (source / layout.LOCKS).glob("*.lock") if (source / layout.LOCKS).is_dir() else ()
    return {folder.relative_to(source).as_posix() for folder in find_folders(source)} | {
        path.name.removesuffix(".lock").replace("+", "/") for path in locks if path.name.count("+") == 2
    }


def _read_taken(source: Path) -> set[str]:
    try:
        return set(json.loads((source / TAKEN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return set()


def _discard(note: pointer.Note) -> None:
    """Remove what a move that was given up has brought to its target, if nothing else was there before."""
    if note.fresh and note.target and pointer.is_ours(note.target) and not _is_same(note.target, note.models):
        with explained(note.target):
            for folder in find_folders(note.target):
                removal.remove_tree(folder)
                for parent in (folder.parent, folder.parent.parent):
                    with suppress(OSError):
                        parent.rmdir()
            (note.target / layout.MARK).unlink(missing_ok=True)
            with suppress(OSError):  # something else has come there
                note.target.rmdir()
    pointer.write_note(pointer.Note(note.models))


def _can_link(source: Path, target: Path) -> bool:
    """Whether a file can have a name in both places."""
    probe = target / f".{os.getpid()}{TEMPORARY}"
    try:
        os.link(source / TAKEN, probe)
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def _find_files(folder: Path) -> list[Path]:
    """All files of a model, the manifest last; what was only being written is left out."""
    found = [
        Path(parent, name) for parent, _, names in os.walk(folder) for name in names if not name.endswith(TEMPORARY)
    ]
    return sorted(found, key=lambda path: (path == folder / layout.MANIFEST, str(path)))


def _measure(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _take(folder: Path, models: Path, target: Path, *, linked: bool, meter: Meter) -> None:
    """Put a model's folder, whose lock is held, into the other store; the manifest last."""
    home = target / folder.relative_to(models)
    digests, touched = _read_digests(folder), set[Path]()
    with explained(home):
        for left in filter(Path.is_file, home.rglob(f"*{TEMPORARY}")):
            left.unlink()  # of a killed move
        for path in _find_files(folder):
            new = home / path.relative_to(folder)
            new.parent.mkdir(parents=True, exist_ok=True)
            touched |= {new.parent, home, home.parent, home.parent.parent, target}
            if path == folder / layout.MANIFEST:
                for one in touched:
                    sync_folder(one)
                write_atomically(new, _move_root(path.read_text(encoding="utf-8"), models, target))
                meter.add(path.stat().st_size, path.name)
            else:
                _take_file(path, new, digests.get(path.relative_to(folder).as_posix()), linked=linked, meter=meter)
        for one in touched:
            sync_folder(one)


def _read_digests(folder: Path) -> dict[str, str]:
    """SHA-256 by path below the model's folder, as far as the manifest can be read and the files are the store's."""
    try:
        model = manifest.read_manifest(folder / layout.MANIFEST)
    except StoreError:
        return {}
    own = {f"{layout.FILES}/{file.path}": file.sha256 for file in model.files} if model.keeper is None else {}
    return own | ({f"{layout.DERIVED}/{model.derived.path}": model.derived.sha256} if model.derived else {})


def _move_root(text: str, models: Path, target: Path) -> str:
    """A manifest whose model has its files from within another model's folder finds them in the new place."""
    try:
        record = json.loads(text)
        inside = Path(record["root"]).relative_to(models)
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
    if len(inside.parts) < len(("repo", "revision", "leaf")):
        return text
    return json.dumps(record | {"root": str(target / inside)}, indent=1, ensure_ascii=False) + "\n"


def _take_file(path: Path, new: Path, sha256: str | None, *, linked: bool, meter: Meter) -> None:
    if path.is_symlink():
        with suppress(FileExistsError):
            new.symlink_to(path.readlink())
        meter.add(path.lstat().st_size, path.name)
        return
    if new.exists() and (new.samefile(path) or _is_copy(path, new, sha256)):
        meter.add(path.stat().st_size, path.name)
        return
    temporary, status = new.with_name(new.name + TEMPORARY), path.stat()
    if linked:
        os.link(path, temporary)
        meter.add(status.st_size, path.name)
    else:
        found = copy_file(path, temporary, None, count=partial(meter.add, file=path.name))
        if sha256 not in {None, found}:
            temporary.unlink()
            raise IntegrityError(
                f"A model's file is damaged: {path.name}",
                detail=f"{path}\nmanifest: {sha256}\nfile:     {found}",
                hint="See which model it is, and what to do: `lf model verify --all`. Nothing has been moved yet.",
            )
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))  # else it counts as changed
    temporary.replace(new)


def _is_copy(path: Path, new: Path, sha256: str | None) -> bool:
    """Whether an earlier move has brought this very file; one that no manifest knows may have grown since then."""
    return sha256 is not None and new.stat().st_size == path.stat().st_size and hash_file(new, lambda _: None) == sha256
