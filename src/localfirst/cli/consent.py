"""Questions on a terminal: whether a licence is accepted, whether to begin; elsewhere a flag has to say it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from localfirst.cli.screen import line, stderr_screen
from localfirst.errors import ConsentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.cli.screen import Screen

Result = TypeVar("Result")


def ask(action: Callable[[bool], Result], *, accepted: bool) -> Result:
    """Do something that may need a licence; `action` takes whether it is accepted, and fails where it must be.

    Raises:
        ConsentError: it is not accepted, or there is nobody to ask.
    """
    try:
        return action(accepted)
    except ConsentError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        screen = stderr_screen()
        screen.write_lines([line(error.message), f"  {line(error.license_)}"])
        screen.write("Do you accept it? [y/N] ")
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise
    return action(True)


def confirm(notice: str, *, advised: bool = True) -> bool:
    """Tell what is going to be done, and ask whether to; Enter does it where it is `advised`.

    Raises:
        UsageError: there is nobody to ask.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("There is nobody here to ask whether to begin", detail=notice, hint="Say so with `-y`")
    screen = stderr_screen()
    screen.write_lines([line(notice)])
    screen.write("Begin? [Y/n] " if advised else "Do it all the same? [y/N] ")
    typed = sys.stdin.readline()
    agreed = {"y", "yes", ""} if advised else {"y", "yes"}
    return typed != "" and typed.strip().lower() in agreed  # an end of the input is no Enter


def agree(render: Callable[[Screen], Sequence[str]], *, agreed: bool, quiet: bool) -> None:
    """Show what is going to be done, and ask whether to, unless that is agreed already.

    Raises:
        UsageError: it is not agreed to, or there is nobody to ask.
    """
    screen = stderr_screen()
    if not quiet:
        screen.write_lines(render(screen))
    if agreed:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("Nothing was done: there is nobody to ask", hint="Add `-y` to do what the plan says")
    screen.write("Do it? [y/N] ")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was done")
