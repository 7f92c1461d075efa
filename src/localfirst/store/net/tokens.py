"""The user's token for a hub, in huggingface_hub's own place: what `hf auth login` keeps is found, and the other way.

A token is never shown: it is a field that no `repr` has, and what comes from its checks names only what holds it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from localfirst import paths
from localfirst.errors import StoreError, UsageError
from localfirst.store.disk import write_atomically
from localfirst.store.net.address import find_origin
from localfirst.store.net.network import prepare_hub_library

STORED = "the token of `lf login`"
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_TOKEN = re.compile(r"[!-~]{1,2000}")
"""What goes into a header as it is (RFC 9110, 5.5). An HTTP client would quote anything else in its error."""


class Token(NamedTuple):
    """A token and what holds it."""

    value: str | None
    source: str

    def __repr__(self) -> str:
        return f"Token({self.source!r})"


def find_variable() -> str | None:
    """The environment variable that holds a token, which wins over the one that is kept."""
    return next((name for name in _VARIABLES if os.environ.get(name, "").strip()), None)


def find_token(hub_url: str) -> Token | None:
    """The token for a hub: the environment's, else the one that is kept, renewed where it is one that ends and renews.

    One that `lf login` has kept for another hub is none.

    Raises:
        UsageError: it is none.
        StoreError: it cannot be read or had.
    """
    prepare_hub_library()
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    variable = find_variable()
    try:
        value = get_token()
    except (OSError, ValueError, OIDCError) as error:
        raise _unreadable(error) from error
    if not value:
        return None
    source = variable or ("HF_OIDC_RESOURCE" if os.environ.get("HF_OIDC_RESOURCE") else STORED)
    if source == STORED and _belongs_elsewhere(value, hub_url):
        return None
    return Token(check_token(value, source), source)


def _belongs_elsewhere(value: str, hub_url: str) -> bool:
    """Whether a kept token is one that `lf login` has kept for another hub; huggingface_hub keeps one for all."""
    try:
        note = json.loads(paths.login_file().read_text(encoding="utf-8"))
        return bool(note["token"] == _fingerprint(value) and find_origin(note["hub"]) != find_origin(hub_url))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # of the hub's own tools, which say nothing of where it belongs


def _fingerprint(value: str) -> str:
    """What tells a token from others and gives nothing of it away."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def check_token(value: str, source: str) -> str:
    """The token itself, if it can be one.

    Raises:
        UsageError: it cannot.
    """
    if not _TOKEN.fullmatch(value):
        hint = "A token is one word such as hf_...; yours are at https://huggingface.co/settings/tokens"
        raise UsageError(
            f"{source} is not a token", detail=f"{len(value)} characters, some that no token has", hint=hint
        )
    return value


def find_kept() -> Path | None:
    """The file that holds a kept token, if there is one; nobody is asked whether it is still good.

    Raises:
        StoreError: it cannot be read.
    """
    prepare_hub_library()
    from huggingface_hub import constants

    path = Path(constants.HF_TOKEN_PATH)
    try:
        return path if path.is_file() and path.read_text(encoding="utf-8").strip() else None
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error


def keep_token(value: str, hub_url: str) -> None:
    """Keep a token for the hub that knows it; huggingface_hub asks it once more.

    Raises:
        StoreError: the place cannot be written.
        HfHubHTTPError, httpx2.HTTPError: the hub does not answer.
    """
    prepare_hub_library()
    from huggingface_hub import constants, login
    from huggingface_hub.errors import HfHubHTTPError

    note = paths.login_file()
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps({"hub": hub_url, "token": _fingerprint(value)}) + "\n")
        login(value)
    except HfHubHTTPError:
        raise
    except (OSError, ValueError, TypeError) as error:
        detail = _say(error) if isinstance(error, OSError) else f"its name cannot be kept ({type(error).__name__})"
        raise StoreError(
            "The token cannot be kept",
            detail=f"{constants.HF_TOKEN_PATH}: {detail}",
            hint="Set HF_HOME and LF_HOME to folders of yours, or set HF_TOKEN for each command instead.",
        ) from error


def forget_tokens() -> bool:
    """Remove every kept token; whether there was one.

    Raises:
        StoreError: they cannot be removed.
    """
    prepare_hub_library()
    from huggingface_hub import constants, logout

    places = [Path(constants.HF_TOKEN_PATH), Path(constants.HF_STORED_TOKENS_PATH)]
    before = _find_present(places)
    if not before:
        return False
    with suppress(OSError):  # git is not installed, or HF_TOKEN is set as well: the files tell whether they are gone
        logout()
    with suppress(OSError):  # of no meaning without the token
        paths.login_file().unlink(missing_ok=True)
    if left := _find_present(places):
        raise StoreError(
            "The token cannot be removed",
            detail="\n".join(map(str, left)),
            hint="Remove the file yourself, with the rights of whoever owns it.",
        )
    return True


def _find_present(places: list[Path]) -> list[Path]:
    return [path for path in places if os.path.lexists(path)]


def _unreadable(error: Exception) -> StoreError:
    return StoreError(
        "The token for the hub cannot be read",
        detail=_say(error),
        hint="Mend what is named there, or set HF_TOKEN or HF_HOME; `lf logout` forgets what is kept.",
    )


def _say(error: Exception) -> str:
    """An error in words that cannot have a token in them: those of the system, or else only its kind."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return type(error).__name__
