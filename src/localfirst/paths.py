"""Where `lf` writes: `LF_HOME` moves everything, otherwise the system's own folders (platformdirs) decide."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path | None:
    """The folder named by `LF_HOME`, or `None` when it is unset or empty."""
    value = os.environ.get("LF_HOME")
    return Path(value).expanduser().absolute() if value else None


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


def models_dir() -> Path:
    """The store: one folder per model revision."""
    return data_dir() / "models"


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
