"""Why installers failed, by what they said: one line, the few lines of theirs that show it, and what to type next.

Their words: pip 23 to 26, uv 0.9; urllib3's and the systems' for connections. All in lower case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import DiskFullError, LfError, NetworkError, RuntimeMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EVIDENCE_LINES = 3
"""Of each installer."""
UNKNOWN_REMEDY = "Mend what it says"


class Cause(NamedTuple):
    """A reason that is known by its words."""

    words: tuple[str, ...]
    what: str
    remedy: str | None = None
    error: type[LfError] = RuntimeMissingError


_SETTINGS = "in pip's configuration (`pip config list`)"
_DISK_FULL = Cause(
    ("no space left on device", "not enough space on the disk"),
    "the disk is full",
    "Free some space, or set `LF_HOME` to a folder on another disk",
    DiskFullError,
)
_NO_VENV = Cause(
    ("ensurepip",),
    "this Python cannot make environments",
    "Install `uv`, or your system's package for Python's venv module",
)
CAUSES = (
    _DISK_FULL,
    Cause(
        ("match the hashes", "hash mismatch"),
        "the package index serves other files than the pinned ones",
        f"Check its address, and any mirror, {_SETTINGS}",
    ),
    _NO_VENV,
    Cause(
        ("certificate",),
        "the certificate of the package index is not trusted",
        "Name your certificates: `SSL_CERT_FILE`, or `cert` in pip's configuration",
        NetworkError,
    ),
    Cause(
        (
            "connection broken", "failed to establish a new connection", "error sending request", "dns error",
            "name or service not known", "name resolution", "getaddrinfo failed", "nodename nor servname",
            "connection refused", "connection reset", "connect error", "network is unreachable", "no route to host",
            "timed out", "max retries exceeded", "connect to proxy",
        ),
        "the package index cannot be reached",
        f"Check the network, and the proxy and index {_SETTINGS}",
        NetworkError,
    ),
    Cause(
        ("http error", "status client error", "status server error", "forbidden error", "unauthorized error"),
        "the package index refuses to serve it",
        f"Check its address, and your name and password for it, {_SETTINGS}",
        NetworkError,
    ),
    Cause(
        ("no matching distribution", "no solution found"),
        "the package index has no build for this Python and system",
        f"Try another Python, or check the index {_SETTINGS}",
    ),
)  # fmt: skip
"""The first whose words were said counts: what comes later here is often said because of what comes before."""
SEALED_CAUSES = (
    _DISK_FULL,
    Cause(("hash",), "the bundle's wheels are not those that this version of lf knows"),
    _NO_VENV._replace(remedy="Install your system's package for Python's venv module"),
    Cause(
        ("no matching distribution",),
        "the bundle's wheels need a newer system than this one (its C library, or macOS)",
    ),
)
"""For wheels from a bundle, for which no index is asked."""


def explain(
    message: str,
    said: Mapping[str, Sequence[str]],
    causes: Sequence[Cause] = CAUSES,
    *,
    log: Path | None = None,
    again: str | None = None,
) -> LfError:
    """The error for installers that failed.

    Args:
        message: what could not be done.
        said: what each installer said, in the order in which they were tried; not none.
        causes: what it may be.
        log: where all of it is.
        again: the command that tries again.
    """
    lower = [line.lower() for lines in said.values() for line in lines]
    cause = next((one for one in causes if any(word in line for word in one.words for line in lower)), None)
    words = cause.words if cause else ("error", "fatal")
    shown = {name: _find_evidence(lines, words) for name, lines in said.items()}
    if not any(shown.values()):
        shown = {name: tuple(lines[-EVIDENCE_LINES:]) for name, lines in said.items()}
    detail = [f"{name}: {line.strip()}" for name, lines in shown.items() for line in lines]
    if log is not None:
        detail.append(f"All of it: {log}")
    remedy = cause.remedy if cause else UNKNOWN_REMEDY
    hint = f"{remedy}, then type `{again}`" if remedy and again else remedy
    error = cause.error if cause else RuntimeMissingError
    return error(f"{message}: {cause.what}" if cause else message, detail="\n".join(detail), hint=hint)


def _find_evidence(lines: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """The last lines that say one of the words, each once."""
    saying = dict.fromkeys(line for line in lines if any(word in line.lower() for word in words))
    return tuple(saying)[-EVIDENCE_LINES:]
