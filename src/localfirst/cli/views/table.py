"""Columns of text that fit a width: the least important columns go first, and no cell is ever broken or cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.cli.screen import measure, pad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GAP = "  "


class Column(NamedTuple):
    """A column: its heading is its key. Columns with the highest `rank` are left out first where space is short."""

    title: str
    rank: int = 0
    right: bool = False


def fit(columns: Sequence[Column], rows: Sequence[Mapping[str, str]], width: int | None) -> dict[Column, int]:
    """The columns that fit and have something to show, each with its width; rank 0 always stays."""
    widths = {
        column: max(measure(column.title), *(measure(row.get(column.title, "")) for row in rows))
        for column in columns
        if any(row.get(column.title) for row in rows)
    }
    for column in sorted(widths, key=lambda column: column.rank, reverse=True):
        if width is None or column.rank == 0 or sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        del widths[column]
    return widths


def format_row(widths: Mapping[Column, int], row: Mapping[str, str]) -> str:
    """One line of the table."""
    cells = (pad(row.get(column.title, ""), width, right=column.right) for column, width in widths.items())
    return GAP.join(cells).rstrip()


def format_header(widths: Mapping[Column, int]) -> str:
    """The line of headings."""
    return format_row(widths, {column.title: column.title for column in widths})
