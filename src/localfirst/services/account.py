"""The user's account at the hub: log in, log out, and who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import NetworkError
from localfirst.store.net import hub, tokens
from localfirst.store.net.endpoint import Endpoint, find_home

if TYPE_CHECKING:
    from localfirst.store.net.hub import Account


class Login(NamedTuple):
    """A token for the hub, and whose it is; `account` is `None` where nobody was asked."""

    endpoint: Endpoint
    account: Account | None
    overruled_by: str | None = None
    """The variable whose token is used instead of a kept one."""

    @property
    def source(self) -> str:
        """What holds the token that is used."""
        return self.endpoint.token_source


def log_in(token: str, *, offline: bool = False) -> Login:
    """Keep a token for the hub, after asking it whose it is.

    Raises:
        UsageError: it can be no token.
        LicenseError: the hub does not know it.
        NetworkError: the hub cannot be asked, or `offline` is set.
        StoreError: it cannot be kept.
    """
    require_network(offline=offline)
    endpoint = Endpoint(find_home(), tokens.check_token(token.strip(), "What was given"), tokens.STORED)
    return Login(endpoint, hub.keep_account(endpoint), tokens.find_variable())


def require_network(*, offline: bool) -> None:
    """Make sure that the hub may be asked.

    Raises:
        NetworkError: `offline` is set.
    """
    if offline:
        raise NetworkError(
            "Only the hub can tell whose a token is, and --offline (or LF_OFFLINE) forbids to ask it",
            hint="Log in with a connection; the token is kept.",
        )


def find_login(*, offline: bool = False) -> Login | None:
    """The token in use and whose it is, asked of the hub unless `offline`; `None` where there is none.

    Raises:
        LicenseError: the hub does not know it.
        NetworkError: the hub cannot be asked.
        StoreError, UsageError: the token cannot be read, or is none.
    """
    home = find_home()
    found = tokens.find_token(home)
    if found is None:
        return None
    endpoint = Endpoint(home, found.value, found.source)
    overruled = tokens.find_variable() if tokens.find_kept() else None
    return Login(endpoint, None if offline else hub.read_account(endpoint), overruled)


class Logout(NamedTuple):
    """What a logout did."""

    removed: bool
    still: str | None
    """The variable that holds a token all the same."""


def log_out() -> Logout:
    """Forget every token that is kept, by us or by the hub's own tools.

    Raises:
        StoreError: they cannot be removed.
    """
    return Logout(tokens.forget_tokens(), tokens.find_variable())
