"""The licences that this user has accepted: a JSON object, from the address of the text to the time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from localfirst import paths
from localfirst.store.disk import explained, write_atomically


def is_accepted(license_: str) -> bool:
    """Whether a licence was accepted; a file that cannot be read accepts nothing."""
    return license_ in _read()


def accept(license_: str) -> None:
    """Keep that a licence was accepted.

    Raises:
        StoreError: it cannot be written.
    """
    accepted = _read() | {license_: datetime.now(UTC).isoformat(timespec="seconds")}
    path = paths.licenses_file()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(accepted, indent=2) + "\n")


def _read() -> dict[str, str]:
    try:
        accepted = json.loads(paths.licenses_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return accepted if isinstance(accepted, dict) else {}
