"""The machine to answer for: this one, or a recorded one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.errors import UsageError
from localfirst.hwprobe.host import load_record
from localfirst.hwprobe.probe import probe

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.types import Machine


def find_machine(profile: Path | None = None) -> Machine:
    """Probe this machine, or replay the record in the file `profile`.

    Raises:
        UsageError: the file cannot be read or is no record.
    """
    if profile is None:
        return probe()
    try:
        text = profile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The machine record `{profile}` cannot be read", detail=str(error)) from error
    return probe(load_record(text))
