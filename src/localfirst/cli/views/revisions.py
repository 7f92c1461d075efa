"""Revisions of what is on this disk: which is used, what is newer, what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import line, measure, wrap
from localfirst.store.keepers import is_tool, say_keeper
from localfirst.store.names import say_revision
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.cli.screen import Screen
    from localfirst.services.updates import Moved, Outlook, Updated
    from localfirst.store.revisions import History
    from localfirst.types import InstalledModel

Json = dict[str, Any]

_MARKS = {
    "updated": ("updated", "bold green"),
    "newer": ("newer", "bold yellow"),
    "pinned": ("pinned", "bold"),
    "newest": ("newest", "bold green"),
    "other files": ("newest", "bold green"),
    "fixed": ("fixed", "dim"),
    "kept": ("kept", "dim"),
    "gone": ("gone", "bold yellow"),
    "not found": ("not found", "bold yellow"),
    "unknown": ("unknown", "bold yellow"),
    "failed": ("failed", "bold red"),
}
_SENTENCES = {
    "newer": "{here} -> {newest}{size}",
    "pinned": "stays at {here}; {newest} is newer, and `lf model unpin` lets it move",
    "newest": "{here}{pin}",
    "other files": "{here}{pin}; only other files changed since, up to {newest}",
    "fixed": "{here}{pin}, named by its commit, which never moves",
    "kept": "its files are {whose}; nothing was asked about them",
    "gone": "{here}{pin}; {why}",
    "not found": "{here}{pin}; {why}",
    "unknown": "{here}{pin}; {why}",
}
_INDENT = " " * (max(len(mark) for mark, _ in _MARKS.values()) + 2)
_QUIET = ("newest", "other files", "fixed", "kept")
"""States in which there is nothing to do."""


def name_installed(model: InstalledModel) -> str:
    """An installed build's name, as it may be typed."""
    return line(model.full_name)


def render_outlooks(outlooks: Sequence[Outlook], screen: Screen, *, every: bool) -> list[str]:
    """What is newer: of every build, or only of those for which there is something to do."""
    shown = [one for one in outlooks if every or one.state not in _QUIET]
    lines = [text for one in shown for text in _render_outlook(one, screen)]
    hidden = [one for one in outlooks if one not in shown]
    kept = sum(one.state == "kept" for one in hidden)
    others = len(hidden) - kept
    if not outlooks:
        return ["No models on this disk"]
    builds = "1 build" if kept == 1 else f"{kept} builds"
    unasked = [f"Nothing was asked about {builds}, whose files are kept by you or other tools"] if kept else []
    if not shown:
        said = ["Nothing newer" if others == 1 else f"Nothing newer for any of {others} builds"] if others else []
        return [*said, *wrap(" ".join(unasked), screen.width)] if unasked else said
    hint = ["`lf model update --all` fetches what is newer"] if any(one.is_due for one in shown) else []
    rest = [f"{others} other{'s have' if others > 1 else ' has'} nothing newer"] if others else []
    dim = [screen.paint(text, "dim") for said in (*rest, *unasked, *hint) for text in wrap(said, screen.width)]
    return [*lines, "", *dim] if dim else lines


def _find_mark(outlook: Outlook) -> str:
    return "pinned" if outlook.history.pinned and outlook.state == "newer" else outlook.state


def _render(mark: str, outlook: Outlook, text: str, screen: Screen) -> Iterator[str]:
    """A mark with the build's name and what there is to say, which begins a line of its own where it is long."""
    word, style = _MARKS[mark]
    name, said = name_installed(outlook.history.current), line(text)
    whole = f"{word}{' ' * (len(_INDENT) - len(word))}{name}  {said}"
    fits = screen.width is None or measure(whole) <= screen.width
    shown = whole if fits else whole.removesuffix(f"  {said}")
    yield screen.paint(word, style) + shown.removeprefix(word)
    yield from () if fits else wrap(said, screen.width, _INDENT)


def _render_outlook(outlook: Outlook, screen: Screen) -> Iterator[str]:
    yield from _render(_find_mark(outlook), outlook, _say_outlook(outlook), screen)
    if outlook.state == "not found" and outlook.error and outlook.error.hint:
        yield from wrap(line(outlook.error.hint), screen.width, _INDENT)


def _say_outlook(outlook: Outlook) -> str:
    current, changed = outlook.history.current, outlook.changed_bytes
    return _SENTENCES[_find_mark(outlook)].format(
        here=say_revision(current.revision),
        newest=say_revision(outlook.newest),
        size=f", {format_bytes(changed)} in files that differ" if changed else "",
        whose=f"kept by {say_keeper(current.keeper)}" if is_tool(current.keeper) else "your own",
        why=outlook.error.message if outlook.error else "",
        pin=", pinned" if outlook.history.pinned else "",
    )


def outlooks_to_json(outlooks: Sequence[Outlook]) -> Json:
    """`lf model outdated --json`."""
    return {"models": [_outlook_to_json(one) for one in outlooks]}


def _outlook_to_json(outlook: Outlook) -> Json:
    current = outlook.history.current
    return {
        "name": current.name,
        "variant": current.variant,
        "repo": current.repo,
        "revision": current.revision,
        "newest": outlook.newest,
        "state": outlook.state.replace(" ", "-"),
        "pinned": outlook.history.pinned,
        "changed_bytes": outlook.changed_bytes,
        "reason": outlook.error.message if outlook.error else None,
    }


def render_updated(updated: Sequence[Updated], screen: Screen, *, check: bool) -> list[str]:
    """What an update has done, or (`check`) would do."""
    lines = [text for one in updated for text in _render_updated(one, screen)]
    if check and any(one.outlook.is_due for one in updated):
        lines += ["", screen.paint("Nothing was fetched; the same without --check does it", "dim")]
    return lines or ["No models on this disk"]


def _render_updated(one: Updated, screen: Screen) -> Iterator[str]:
    outlook = one.outlook
    here = say_revision(outlook.history.current.revision)
    if one.error is not None and outlook.state != "unknown":
        yield from _render("failed", outlook, f"stays at {here}; {one.error.message}", screen)
        yield from wrap(line(one.error.hint), screen.width, _INDENT) if one.error.hint else ()
    elif one.installed is not None:
        text = f"{here} -> {say_revision(one.installed.revision)}, verified; `lf model rollback` goes back"
        yield from _render("updated", outlook, text, screen)
    else:
        yield from _render_outlook(outlook, screen)


def updated_to_json(updated: Sequence[Updated]) -> Json:
    """`lf model update --json`."""
    return {
        "models": [
            _outlook_to_json(one.outlook)
            | {
                "updated_to": one.installed.revision if one.installed else None,
                "error": one.error.code if one.error else None,
            }
            for one in updated
        ]
    }


def render_moved(moved: Moved, screen: Screen) -> list[str]:
    """Which revision is used now, and how to come back."""
    before, after = moved.before.current, moved.after.current
    name = name_installed(after)
    if before == after:
        return [f"{name} is at {say_revision(after.revision)} already"]
    dim = "`lf model update` goes forward again; `lf model pin` keeps it from doing so"
    return [
        f"{name}: {say_revision(before.revision)} -> {say_revision(after.revision)}",
        *(screen.paint(text, "dim") for text in wrap(dim, screen.width)),
    ]


def moved_to_json(moved: Moved) -> Json:
    """`lf model rollback --json`."""
    return history_to_json(moved.after) | {"before": moved.before.current.revision}


def render_pins(histories: Sequence[History], screen: Screen) -> list[str]:
    """Which builds are held, and which may move."""
    lines = []
    for history in histories:
        name, revision = name_installed(history.current), say_revision(history.current.revision)
        at = f" at {revision}" if revision else ""
        text = f"{name} is pinned{at}" if history.pinned else f"{name} is not pinned; an update may move it on"
        lines += wrap(text, screen.width)
    return lines


def pins_to_json(histories: Sequence[History]) -> Json:
    """`lf model pin --json` and `unpin`."""
    return {"models": [history_to_json(history) for history in histories]}


def history_to_json(history: History) -> Json:
    """The revisions of a build, the one that was current last at the end."""
    return {
        "name": history.current.name,
        "variant": history.current.variant,
        "revision": history.current.revision,
        "pinned": history.pinned,
        "revisions": [
            {
                "repo": model.repo,
                "revision": model.revision,
                "current": model == history.current,
                "created": model.created,
                "size_bytes": model.size_bytes,
                "root": model.root,
            }
            for model in history.models
        ],
    }


def list_revisions(history: History) -> list[str]:
    """Each revision of a build in a line, the newest first."""
    marks = {history.current: "pinned" if history.pinned else "current", history.previous: "previous"}
    return [
        ", ".join(
            filter(
                None,
                (say_revision(one.revision), format_bytes(one.size_bytes), line(one.created[:10]), marks.get(one)),
            )
        )
        for one in reversed(history.models)
    ]
