"""The hub that the user means, the token for it, and where that token may go: to the hub's own origin, nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from localfirst.errors import LicenseError, UsageError

DEFAULT_ENDPOINT = "https://huggingface.co"
_PORTS = {"http": 80, "https": 443}


def find_origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a web address, or `None` if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A hub's address and the user's token for it."""

    url: str
    token: str | None = field(default=None, repr=False)

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
            hint = f"Accept the terms at {page} in a browser, then set HF_TOKEN to a token of that account."
        else:
            hint = f"Accept the terms at {page} with the account of your token (HF_TOKEN), or use another token."
        return LicenseError(f"{page} needs permission", detail=reason, hint=hint)


def find_endpoint() -> Endpoint:
    """The hub named by `HF_ENDPOINT`, else huggingface.co, with the token of `HF_TOKEN` or of `hf auth login`.

    Raises:
        UsageError: `HF_ENDPOINT` is no web address.
    """
    url = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if find_origin(url) is None or urlsplit(url).username is not None:
        raise UsageError("HF_ENDPOINT is not a web address", detail=url, hint=f"Unset it to use {DEFAULT_ENDPOINT}.")
    prepare_environment()
    from huggingface_hub import get_token

    return Endpoint(url, get_token() or None)


def prepare_environment() -> None:
    """Switch off what huggingface_hub does unasked. It reads these when it is imported, so this comes first.

    Source: huggingface_hub, "Environment variables" in its documentation.
    """
    for name in (
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_HUB_DISABLE_XET",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    ):
        os.environ[name] = "1"
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its log lines repeat a server's words as they come
