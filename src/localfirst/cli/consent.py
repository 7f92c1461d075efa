"""Questions on a terminal: whether a licence is accepted, whether to begin; elsewhere a flag has to say it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from localfirst.cli.screen import Screen, line, stderr_screen
from localfirst.errors import ConsentError, DeclinedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Result = TypeVar("Result")


def ask(action: Callable[[bool], Result], *, accepted: bool) -> Result:
    """Do something that may need a licence; `action` takes whether it is accepted, and fails where it must be.

    Raises:
        ConsentError: it is not accepted, or there is nobody to ask.
    """
    try:
        return action(accepted)
    except ConsentError as error:
        if not _is_anybody_there():
            raise
        screen = stderr_screen()
        screen.write_lines([line(error.message), f"  {line(error.license_)}"])
        if not _ask(screen, "Do you accept it? [y/N]", enter=False):
            raise
    return action(True)


def agree(
    render: Callable[[Screen], Sequence[str]], *, agreed: bool, quiet: bool = False, advised: bool = True
) -> None:
    """Show what is going to be done, and ask whether to begin, unless that is agreed already.

    Enter begins where that is `advised`; `quiet`: show nothing of what is agreed.

    Raises:
        UsageError: there is nobody to ask; the detail is what would have been done.
        DeclinedError: the answer is no.
    """
    screen = stderr_screen()
    if agreed:
        if not quiet:
            screen.write_lines(render(screen))
        return
    if not _is_anybody_there():
        raise UsageError(
            "Nothing was done: there is nobody here to ask whether to begin",
            detail="\n".join(render(Screen(screen.stream))),
            hint="Say so with `-y`",
        )
    screen.write_lines(render(screen))
    if not _ask(screen, "Begin? [Y/n]" if advised else "Do it all the same? [y/N]", enter=advised):
        raise DeclinedError("Nothing was done")


def _is_anybody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(screen: Screen, question: str, *, enter: bool) -> bool:
    """Whether the answer is yes; `enter` is what the bare key means, and the end of the input always means no."""
    screen.write(f"{question} ")
    typed = sys.stdin.readline()
    answer = typed.strip().lower()
    return typed != "" and (answer in {"y", "yes"} or (answer == "" and enter))
