"""The machine to answer for: this one, or a recorded one, by the name of a profile that ships here or by a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import UnknownNameError, UsageError
from localfirst.hwprobe.host import load_record
from localfirst.hwprobe.probe import probe
from localfirst.paths import profiles_dir

if TYPE_CHECKING:
    from localfirst.types import Machine


def find_machine(profile: str | None = None) -> Machine:
    """Probe this machine, or replay a record: the profile of that name, else the file of that path.

    Raises:
        UnknownNameError: there is no such profile, and no such file.
        UsageError: the file cannot be read or is no record.
    """
    if profile is None:
        return probe()
    shipped = profiles_dir() / f"{profile}.json"
    known = profile in find_profiles()
    path = shipped if known else Path(profile)
    if not known and not path.exists():
        raise UnknownNameError(
            f"No recorded machine named `{profile}`, and no file of that name",
            detail="\n".join(find_profiles()),
            hint="See what they are: `lf hw --profiles`; record one of your own: `lf doctor --record FILE`",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The machine record `{profile}` cannot be read", detail=str(error)) from error
    return probe(load_record(text))


def find_recorded(profile: str | None) -> Machine | None:
    """The recorded machine that was asked for, `None` for this one.

    Raises:
        UnknownNameError, UsageError: as `find_machine`.
    """
    return None if profile is None else find_machine(profile)


def find_profiles() -> tuple[str, ...]:
    """The names of the recorded machines that ship with this program, sorted."""
    return tuple(sorted(path.stem for path in profiles_dir().glob("*.json")))


def read_profiles() -> dict[str, Machine]:
    """Every recorded machine that ships with this program, by name."""
    return {name: find_machine(name) for name in find_profiles()}
