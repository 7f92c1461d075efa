"""Files of other programs: changed so that what they were is kept beside them, and put back when asked."""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import LfError, UsageError, say_cause
from localfirst.paths import data_dir, require_writable
from localfirst.server.launch import change
from localfirst.store.disk import write_atomically

if TYPE_CHECKING:
    from localfirst.server.launch.apps import Settings, Told

PRIVATE = 0o600
"""Of a file that is made: settings of such programs may have keys in them some day."""


class Edit(NamedTuple):
    """A file as it is, and as it is to be."""

    path: Path
    """Where it really lies: links to it stay links."""
    before: str | None
    """`None`: there is none."""
    after: str

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after

    @property
    def diff(self) -> str:
        """The lines that change, as `diff -u` shows them."""
        name = str(self.path)
        old, new = ((text or "").splitlines() for text in (self.before, self.after))
        shown = difflib.unified_diff(old, new, name if self.before is not None else "/dev/null", name, lineterm="")
        return "".join(f"{line}\n" for line in shown)


def plan(settings: Settings, told: Told) -> Edit:
    """What a file is to become; nothing is written.

    Raises:
        LfError: it cannot be changed so that all else in it stays; what to paste is in the detail.
    """
    path, puts = settings.find(), settings.make(told)
    try:
        path = path.resolve()
        before = path.read_bytes().decode("utf-8") if path.exists() else None
        after = _change(before, path, settings, puts)
    except (OSError, UnicodeDecodeError, change.RefusedTextError, RecursionError) as error:
        raise LfError(
            f"{path} is left as it is: {_say_why(error)}",
            detail=f"This belongs into it:\n{change.show(settings.form, puts).rstrip()}",
            hint="Put it there by hand; then start the program yourself",
        ) from error
    return Edit(path, before, after)


def _say_why(error: OSError | UnicodeDecodeError | change.RefusedTextError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "what is in it is nested too deeply, or within itself"
    return str(error) if isinstance(error, change.RefusedTextError) else say_cause(error)


def _change(before: str | None, path: Path, settings: Settings, puts: tuple[change.Put, ...]) -> str:
    if before is None and settings.rival and (path.parent / settings.rival).exists():
        raise change.RefusedTextError(f"{settings.rival} is what is read there, and no longer were this one there, too")
    text = before or ""
    lines = text.replace("\r\n", "\n")
    ends = "\r\n" if lines != text else "\n"
    if lines.replace("\n", ends) != text:
        raise change.RefusedTextError("its lines end in two ways")
    return change.apply(settings.form, lines, puts).replace("\n", ends)


def write(edit: Edit) -> Path | None:
    """Change the file; where what it was is kept, or `None` where it is new or was kept before.

    What it was before lf first changed it is what is kept, as long as nobody else changes it in between.

    Raises:
        LfError: it cannot be written.
    """
    require_writable()
    records = _read_records()
    record = records.get(str(edit.path))
    backup = None
    try:
        mode = PRIVATE
        if edit.before is not None:
            mode = stat.S_IMODE(edit.path.stat().st_mode)
        if edit.before is None:
            record = {"backup": None}
            edit.path.parent.mkdir(parents=True, exist_ok=True)
        elif record is None or record["sha256"] != _hash(edit.before):
            backup = _find_free(edit.path)
            shutil.copy2(edit.path, backup)
            record = {"backup": str(backup)}
        write_atomically(edit.path, edit.after, mode)
        records[str(edit.path)] = {**record, "sha256": _hash(edit.after)}
        write_atomically(_records_file(), json.dumps(records, indent=2))
    except OSError as error:
        raise LfError(f"{edit.path} cannot be changed: {say_cause(error)}") from error
    return backup


class Restored(NamedTuple):
    """A file that was put back."""

    path: Path
    removed: bool
    """It had not been there."""


def restore(settings: Settings) -> Restored:
    """Make a file what it was before lf changed it.

    Raises:
        UsageError: lf did not change it, or somebody else has since.
        LfError: it cannot be written.
    """
    path = settings.find().resolve()
    records = _read_records()
    record = records.pop(str(path), None)
    if record is None:
        raise UsageError(f"There is nothing to put back: lf did not change {path}")
    kept = record["backup"]
    try:
        if not path.exists() or _hash(path.read_bytes().decode("utf-8", "replace")) != record["sha256"]:
            raise UsageError(
                f"{path} was changed since, and is left as it is",
                detail=f"What it was before: {kept}" if kept else "It was not there before lf made it",
                hint="Take out by hand what you do not want",
            )
        if kept is None:
            path.unlink()
        else:
            Path(kept).replace(path)
        write_atomically(_records_file(), json.dumps(records, indent=2))
    except OSError as error:
        raise LfError(
            f"{path} cannot be put back: {say_cause(error)}", detail=kept and f"It is kept: {kept}"
        ) from error
    return Restored(path, kept is None)


def _records_file() -> Path:
    return data_dir() / "launched.json"


def _read_records() -> dict[str, dict[str, str | None]]:
    """What was changed, as far as it can be read."""
    try:
        found = json.loads(_records_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    records = found.items() if isinstance(found, dict) else ()
    return {path: one for path, one in records if isinstance(one, dict) and one.keys() >= {"backup", "sha256"}}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _find_free(path: Path) -> Path:
    """A name beside a file that nothing has."""
    name = f"{path.name}.lf-backup-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return next(found for one in names if not (found := path.with_name(one)).exists())
