"""What was found of other tools, by tool: models by their names here, and what is left out with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.cli.screen import line, measure, pad, wrap
from localfirst.cli.views.table import Column, fit, format_row
from localfirst.store.keepers import say_keeper
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.cli.screen import Screen
    from localfirst.services.adopt import Item, Report

_INDENT = "  "
_MOST_NAMED = 5
_COLUMNS = (Column("NAME"), Column("SIZE", right=True), Column("STATE"))
_STATES = {"adopted": "adopted", "known": "known already", "same": "on disk already"}
_STYLES = {"incomplete": "bold yellow", "unusable": "bold", "damaged": "bold red", "gone": "bold yellow"}


def render_adopted(done: Report, screen: Screen) -> list[str]:
    """All of it, and in one sentence what came of it."""
    lines: list[str] = []
    for found in done.scans:
        items = [item for item in done.items if item.keeper == found.tool.keeper]
        if items:
            lines += [screen.paint(_say_title(found.tool.keeper), "bold"), *_render_items(items, done, screen), ""]
    return [*lines, *wrap(_say_result(done), screen.width)]


def _say_title(keeper: str) -> str:
    title = say_keeper(keeper)
    return title[0].upper() + title[1:]


def _render_items(items: Sequence[Item], done: Report, screen: Screen) -> Iterator[str]:
    models = [item for item in items if item.state in _STATES]
    rows = [_make_row(item, done) for item in models]
    texts = [_INDENT + format_row(fit(_COLUMNS, rows, None), row) for row in rows]
    width = max(map(measure, texts), default=0)
    for item, text in zip(models, texts, strict=True):
        label = line(item.label)
        whole = f"{pad(text, width)}  {label}"
        yield from [whole] if screen.width is None or measure(whole) <= screen.width else [text, _INDENT * 2 + label]
    for state in _STYLES:
        reasons: dict[str, list[str]] = {}
        for item in items:
            if item.state == state:
                reasons.setdefault(line(item.reason), []).append(line(item.label))
        for reason, labels in reasons.items():
            yield from _render_left_out(state, labels, reason, screen)


def _make_row(item: Item, done: Report) -> dict[str, str]:
    state = "to adopt" if done.dry_run and item.state == "adopted" else _STATES[item.state]
    return {"NAME": line(item.name), "SIZE": format_bytes(item.size_bytes), "STATE": state}


def _render_left_out(state: str, labels: Sequence[str], reason: str, screen: Screen) -> Iterator[str]:
    """`incomplete: qwen3:8b: its download has not ended`; once for all that have the same reason."""
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    named = ", ".join(labels[:_MOST_NAMED]) + more
    first, *others = wrap(f"{state}: {named}: {reason}", screen.width, _INDENT * 2)
    yield _INDENT + first.strip().replace(f"{state}:", screen.paint(f"{state}:", _STYLES[state]), 1)
    yield from others


def _say_result(done: Report) -> str:
    adopted = [item for item in done.items if item.state == "adopted"]
    if not done.items:
        return "No models of other tools on this machine; `lf list --fits` shows what it can run"
    if not adopted:
        known = sum(item.state in _STATES for item in done.items)
        return "Nothing new to adopt" if known else "Nothing to adopt"
    count = f"{len(adopted)} model{'' if len(adopted) == 1 else 's'}"
    if done.dry_run:
        return f"{count} to adopt, nothing written yet: `lf model adopt`"
    size = format_bytes(sum(item.size_bytes or 0 for item in adopted))
    return f"{count} adopted, {size}, 0 bytes copied. Run one: `lf run {line(adopted[0].name)}`"


def adopted_to_json(done: Report) -> dict[str, object]:
    """`lf model adopt --json`."""
    return {
        "dry_run": done.dry_run,
        "tools": [
            {
                "tool": found.tool.key,
                "looked": [str(folder) for folder in found.looked],
                "found": [str(folder) for folder in found.folders],
            }
            for found in done.scans
        ],
        "models": [item._asdict() for item in done.items],
    }
