"""The hub that the user means, the token for it, and where that token may go: to the hub's own origin, nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from localfirst.errors import LicenseError, UsageError
from localfirst.store.net.address import find_origin, hide_user, is_plain, is_safe
from localfirst.store.net.tokens import Token, find_token

DEFAULT_ENDPOINT = "https://huggingface.co"

_ONLY_SAFE = "your token is only sent by https, and HF_ENDPOINT says http"
_NOT_KNOWN = "Invalid credentials"
"""How a hub says that it knows no such token. Source: huggingface_hub, `utils/_http.py`, `hf_raise_for_status`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A hub's address and the user's token for it."""

    url: str
    token: str | None = field(default=None, repr=False)
    token_source: str = ""
    """What holds the token, to be named in messages."""
    is_mirror: bool = False
    """Named by `--mirror`: the user's token belongs to another hub."""

    @property
    def host(self) -> str:
        """Host (and port) for messages."""
        return urlsplit(self.url).netloc

    def repo_url(self, repo: str) -> str:
        """The page of a repository, for people."""
        return f"{self.url}/{repo}"

    def file_url(self, repo: str, commit: str, path: str) -> str:
        """Where a file of a repository is fetched."""
        return f"{self.url}/{repo}/resolve/{commit}/{quote(path)}"

    def headers_for(self, url: str) -> dict[str, str]:
        """The authorization for a request, empty for every origin but the hub's own."""
        if self.token is None or find_origin(url) != find_origin(self.url):
            return {}
        return {"Authorization": f"Bearer {self.token}"}

    def refusal(self, page: str, reason: str) -> LicenseError:
        """The error for a repository whose gate is shut, from what the hub said."""
        if self.token is None:
            return LicenseError(f"{page} needs permission", detail=reason, hint=self._say_how_to_open(page))
        if _NOT_KNOWN in reason:
            return self.refuse_token(reason)
        hint = f"Accept the terms at {page} with the account of your token (`lf login --status`), or use another token."
        return LicenseError(f"{page} needs permission", detail=reason, hint=hint)

    def refuse_token(self, reason: str) -> LicenseError:
        """The error for a token that the hub does not know: mistyped, withdrawn, or of another hub."""
        return LicenseError(f"{self.host} does not know your token", detail=reason, hint=self._say_renewal())

    def _say_renewal(self) -> str:
        new = f"Make a new one at {self.url}/settings/tokens"
        if self.token_source.isupper():  # a variable
            return f"{new} and set {self.token_source} to it, or unset {self.token_source}, which wins over `lf login`."
        return f"{new}, then type `lf login`."

    def say_access(self) -> str:
        """What opens a private repository, as the end of a hint."""
        if self.is_mirror:
            return "your token is not sent to a mirror: for a private one leave out --mirror"
        if not is_safe(self.url):
            return _ONLY_SAFE
        if self.token is None:
            return "for a private one `lf login`, or set HF_TOKEN"
        return "for a private one log in with an account that may see it (`lf login --status`)"

    def _say_how_to_open(self, page: str) -> str:
        if self.is_mirror:
            return (
                "Your token is not sent to a mirror: leave out --mirror, or name by HF_ENDPOINT a hub that may have it."
            )
        if not is_safe(self.url):
            return f"Accept the terms at {page} in a browser; {_ONLY_SAFE}."
        return (
            f"Accept the terms at {page} in a browser, then `lf login` with a token of that account, or set HF_TOKEN."
        )


def find_endpoint() -> Endpoint:
    """The hub to fetch from: the mirror of `LF_MIRROR`, which gets no token; else the user's own hub with the token.

    Raises:
        UsageError: `LF_MIRROR` or `HF_ENDPOINT` is no web address, or the token no token.
        StoreError: the token cannot be read.
    """
    url = find_url()
    if find_origin(url) != find_origin(find_home()):
        return Endpoint(url, is_mirror=True)
    token = (find_token(url) if is_safe(url) else None) or Token(None, "")
    return Endpoint(url, token.value, token.source)


def find_url() -> str:
    """Where models come from.

    Raises:
        UsageError: `LF_MIRROR` or `HF_ENDPOINT` is no web address.
    """
    mirror = os.environ.get("LF_MIRROR")
    return check_mirror(mirror) if mirror else find_home()


def find_home() -> str:
    """The hub that the user's token is for: the one named by `HF_ENDPOINT`, else huggingface.co.

    Raises:
        UsageError: `HF_ENDPOINT` is no web address.
    """
    url = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    if not is_plain(url):
        raise UsageError(
            "HF_ENDPOINT is not a web address", detail=hide_user(url), hint=f"Unset it to use {DEFAULT_ENDPOINT}."
        )
    return url.rstrip("/")


def check_mirror(url: str) -> str:
    """The address of a mirror without the slash at its end.

    Raises:
        UsageError: it is no `https` address, nor an `http` one of this machine.
    """
    if not is_plain(url) or not is_safe(url):
        raise UsageError(
            "--mirror (or LF_MIRROR) is not an https address",
            detail=hide_user(url),
            hint="Write it as https://mirror.example or https://proxy.example/huggingface.",
        )
    return url.rstrip("/")
