"""The account at the hub, as lines and as JSON. No token is in either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import line, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.cli.screen import Screen
    from localfirst.services.account import Login, Logout


def render_login(login: Login, screen: Screen) -> Sequence[str]:
    """Who is logged in where, by which token."""
    if login.account is None:
        return wrap(
            f"There is a token for {login.endpoint.host}, in {login.source}; nobody was asked whose", screen.width
        )
    user, name, role = login.account
    what = f"{line(name)}, {_say_role(role)}" if name else _say_role(role)
    said = f"Logged in to {login.endpoint.host} as {line(user)} ({what}), by {login.source}"
    return [*wrap(said, screen.width), *_render_overruling(login.overruled_by, screen)]


def _say_role(role: str | None) -> str:
    return {"read": "may read", "write": "may read and write", "fineGrained": "may do what its owner chose"}.get(
        role or "", "a token"
    )


def _render_overruling(variable: str | None, screen: Screen) -> list[str]:
    if variable is None:
        return []
    return wrap(f"{variable} is set and wins over what is kept: unset it to use that", screen.width)


def render_nobody(host: str, screen: Screen) -> Sequence[str]:
    """That nobody is logged in."""
    return wrap(f"Not logged in to {host}; `lf login` does it. Only gated and private models need it.", screen.width)


def render_logout(logout: Logout, screen: Screen) -> Sequence[str]:
    """What was forgotten, and what still holds a token."""
    said = "Logged out: no token is kept on this machine" if logout.removed else "No token was kept on this machine"
    still = f"{logout.still} is set and goes on to be used: unset it too"
    return [said, *(wrap(still, screen.width) if logout.still else ())]


def login_to_json(login: Login) -> dict[str, Any]:
    """`lf login --json`, with `--status` too."""
    user, name, role = login.account or (None, None, None)
    return {
        "hub": login.endpoint.url,
        "logged_in": True,
        "user": user,
        "token_name": name,
        "role": role,
        "source": login.source,
        "overruled_by": login.overruled_by,
    }


def nobody_to_json(url: str) -> dict[str, Any]:
    """`lf login --status --json` where nobody is."""
    return {"hub": url, "logged_in": False}


def logout_to_json(logout: Logout) -> dict[str, Any]:
    """`lf logout --json`."""
    return {"removed": logout.removed, "still_set": logout.still}
