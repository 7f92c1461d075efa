"""Bars of a terminal, to an eighth of a column.

Not a library's: uniplot 0.23 brings numpy, plotext 6.1 compiled code for each system, and both plot points over axes,
while a list of figures reads best with a bar beside each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localfirst.cli.screen import Screen

_PARTS = " ▏▎▍▌▋▊▉"
"""Unicode's left blocks: U+258F to U+2589, none to seven eighths."""


def draw_bar(share: float, columns: int, screen: Screen) -> str:
    """A bar of a share (0 to 1) of so many columns; of `#` where the screen's encoding has no blocks."""
    eighths = round(min(max(share, 0.0), 1.0) * columns * 8)
    if not _has_blocks(screen):
        return "#" * round(eighths / 8)
    return ("█" * (eighths // 8) + _PARTS[eighths % 8]).rstrip()


def _has_blocks(screen: Screen) -> bool:
    try:
        _PARTS.encode(getattr(screen.stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
