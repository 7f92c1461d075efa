"""Where `lf` writes: `LF_HOME` moves everything, otherwise the system's own folders (platformdirs) decide."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from localfirst.errors import StoreError

_NOTE_EXAMPLE = '{"models": "/the/folder"}'
_FULL = {errno.ENOSPC, errno.EDQUOT}
WRITABLE_HINT = "Make it writable, or set `LF_HOME` to a folder of yours, such as ~/lf"


def home() -> Path | None:
    """The folder named by `LF_HOME`, or `None` when it is unset or empty."""
    value = os.environ.get("LF_HOME")
    return expand(value).absolute() if value else None


def data_dir() -> Path:
    """Models, runtimes and history: what a user would miss."""
    if (base := home()) is not None:
        return base
    import platformdirs

    return platformdirs.user_data_path("localfirst", appauthor=False)


def cache_dir() -> Path:
    """What can be made again."""
    if (base := home()) is not None:
        return base / "cache"
    import platformdirs

    return platformdirs.user_cache_path("localfirst", appauthor=False)


def find_obstacle(folder: Path) -> str | None:
    """Why nothing can be written into a folder, there or still to be made, by trying; `None` where it can.

    Permissions do not tell: a file system may be read-only, or of the system's own making. A full one is no obstacle.
    """
    import tempfile  # noqa: PLC0415 - milliseconds that only who writes, or cannot, should pay

    place = next((path for path in (folder, *folder.parents) if _is_there(path)), folder.parents[-1])
    if not place.is_dir():
        return f"{place} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return None if error.errno in _FULL else f"{place}: {error.strerror}"


def _is_there(path: Path) -> bool:
    """Whether there is something of that name, be it a link to nothing."""
    try:
        return os.path.lexists(path)
    except OSError:  # below a folder that may not be searched
        return False


def is_file(text: str | Path) -> bool:
    """Whether a text is the name of a file here; of one that no file can have, `Path.is_file` raises."""
    return os.path.isfile(text)  # noqa: PTH113 - as said


def is_folder(text: str | Path) -> bool:
    """The same of a folder."""
    return os.path.isdir(text)  # noqa: PTH112 - as said


def expand(text: str | Path) -> Path:
    """A path with the home folder that its `~` means; of a user that there is not, `Path.expanduser` raises."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - as said


def require_writable() -> None:
    """Refuse a data folder that nothing can be written into.

    Raises:
        StoreError: which, why, and what to do about it.
    """
    folder = data_dir()
    if (obstacle := find_obstacle(folder)) is not None:
        whose = "`LF_HOME` is a folder that cannot be written" if home() else "The data folder cannot be written"
        raise StoreError(f"{whose}: {folder}", detail=obstacle, hint=WRITABLE_HINT)


def store_file() -> Path:
    """Where the models are, once `lf store move` has put them elsewhere."""
    return data_dir() / "store.json"


def models_dir() -> Path:
    """The store: one folder per model revision. Never remembered: another process may move it meanwhile.

    Raises:
        StoreError: it was moved, and the note of where to is damaged.
    """
    return find_models(data_dir())


def find_models(data: Path) -> Path:
    """The store that belongs to a data folder: where its `store.json` says, else its folder `models`.

    Raises:
        StoreError: that file is damaged, or cannot be read.
    """
    note = data / "store.json"
    try:
        named: str = json.loads(note.read_text(encoding="utf-8")).get("models", "models")
        return data / named
    except (FileNotFoundError, NotADirectoryError):
        return data / "models"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            "The note of where the models are cannot be read",
            detail=f"{note}\n{error}",
            hint=f"Say there where they are, as in {_NOTE_EXAMPLE}. If they were never moved, delete {note}.",
        ) from error


def shared_dirs() -> tuple[Path, ...]:
    """The folders of `LF_SHARED_STORES`: stores of others, or data folders with one, only to read from."""
    named = os.environ.get("LF_SHARED_STORES", "").split(os.pathsep)
    return tuple(expand(name).absolute() for name in named if name)


def catalogs_dir() -> Path:
    """Catalogs that the user has added, one file each."""
    return data_dir() / "catalogs"


def runtimes_dir() -> Path:
    """Installed engines: one environment each."""
    return data_dir() / "runtimes"


def measurements_file() -> Path:
    """Speeds measured on this machine."""
    return data_dir() / "measurements.sqlite"


def licenses_file() -> Path:
    """The licences that the user has accepted."""
    return data_dir() / "licenses.json"


def login_file() -> Path:
    """Which hub the kept token is for."""
    return data_dir() / "login.json"


def servers_dir() -> Path:
    """Where servers that run say how they are reached: one file each (mode 0600), while they do."""
    return data_dir() / "servers"


def history_file() -> Path:
    """Lines typed in the chat (mode 0600)."""
    return data_dir() / "history"


def package_dir() -> Path:
    """This package's own folder, with the data shipped in it."""
    return Path(__file__).parent


def starter_dir() -> Path:
    """The built-in starter model."""
    return package_dir() / "starter"


def profiles_dir() -> Path:
    """Recorded machines, one file each."""
    return package_dir() / "hwprobe" / "profiles"
