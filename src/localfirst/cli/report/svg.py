"""Plots as inline SVG, for eyes and for screen readers: each has a title, a description, and words beside its colours.

Our own 150 lines: matplotlib and plotly bring tens of megabytes; pygal, the lightest that is kept up, puts fixed
colours and a script from elsewhere into its SVG. Texts are escaped by ElementTree, which writes them.
"""

from __future__ import annotations

from math import ceil, floor, log10
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from localfirst.cli.report.charts import Bar, Bars, Chart, Lines
from localfirst.cli.screen import line

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 420
"""Units of the drawing: about as many pixels, on a phone as on a screen, so that letters stay readable."""
_BAR_TOP, _BAR_HEIGHT, _ROW, _LABEL = 18, 14, 42, 96
_LETTERS = 62
"""So many fit over a bar."""
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 44, 12, 10, 40, 250
_SHAPES = ("circle", "square", "diamond", "triangle")


def draw(chart: Chart, number: int) -> str:
    """The `<svg>` of a plot; `number` makes its ids unlike those of others on the page."""
    return _draw_bars(chart, number) if isinstance(chart, Bars) else _draw_lines(chart, number)


def _start(title: str, description: str, height: float, number: int) -> Element:
    names = f"plot-{number}-title", f"plot-{number}-text"
    root = Element("svg", {"viewBox": f"0 0 {WIDTH} {height:g}", "role": "img", "aria-labelledby": " ".join(names)})
    for tag, name, text in zip(("title", "desc"), names, (title, description), strict=True):
        SubElement(root, tag, id=name).text = line(text)
    return root


def _finish(root: Element) -> str:
    return tostring(root, encoding="unicode", short_empty_elements=True)


def _add(parent: Element, tag: str, kind: str, **places: float) -> Element:
    return SubElement(parent, tag, {"class": kind} | {name: f"{value:.4g}" for name, value in places.items()})


def _write(parent: Element, text: str, kind: str, x: float, y: float) -> None:
    _add(parent, "text", kind, x=x, y=y).text = line(text)


def _draw_bars(chart: Bars, number: int) -> str:
    told = "; ".join(f"{bar.name}: {bar.label}{' (doubtful)' if bar.doubtful else ''}" for bar in chart.bars)
    root = _start(chart.title, f"{chart.about} {told}", len(chart.bars) * _ROW + 4, number)
    most = max(max(bar.value, bar.high or 0, *bar.points, 0) for bar in chart.bars) or 1.0
    for place, bar in enumerate(chart.bars):
        _draw_bar(root, bar, place * _ROW, (WIDTH - _LABEL) / most)
    return _finish(root)


def _draw_bar(root: Element, bar: Bar, top: float, scale: float) -> None:
    group = SubElement(root, "g")
    SubElement(group, "title").text = line(f"{bar.name}: {bar.label}")
    name = line(bar.name) + (" (doubtful)" if bar.doubtful else "")
    _write(group, _shorten(name), "name", 0, top + 12)
    y, middle = top + _BAR_TOP, top + _BAR_TOP + _BAR_HEIGHT / 2
    kind = f"bar c{bar.colour}" + (" doubtful" if bar.doubtful else "")
    _add(group, "rect", kind, x=0, y=y, width=max(bar.value * scale, 1), height=_BAR_HEIGHT, rx=2)
    if bar.low is not None and bar.high is not None:
        _add(group, "line", "whisker", x1=bar.low * scale, x2=bar.high * scale, y1=middle, y2=middle)
        for end in (bar.low, bar.high):
            _add(group, "line", "whisker", x1=end * scale, x2=end * scale, y1=middle - 4, y2=middle + 4)
    for point in bar.points:
        _add(group, "circle", "point", cx=point * scale, cy=middle, r=2)
    most = max(bar.value, bar.high or 0, *bar.points, 0)
    _write(group, bar.label, "value", most * scale + 6, middle + 4)


def _shorten(name: str) -> str:
    """A name without its middle, where it is too long: its end says which test it is."""
    half = _LETTERS // 2
    return name if len(name) <= _LETTERS else f"{name[: half - 1]}…{name[-half:]}"


def _draw_lines(chart: Lines, number: int) -> str:
    told = "; ".join(f"{one.name}: " + ", ".join(f"{y:.4g} at {x:g}" for x, y in one.points) for one in chart.lines)
    root = _start(chart.title, f"{chart.about} {told}", _HEIGHT, number)
    xs = sorted({x for one in chart.lines for x, _ in one.points})
    ticks = find_ticks(max(y for one in chart.lines for _, y in one.points))
    first, last = xs[0], xs[-1] if xs[-1] > xs[0] else xs[0] + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - first) / (last - first) * (WIDTH - _LEFT - _RIGHT - 10)
        return across, _HEIGHT - _BOTTOM - y / ticks[-1] * (_HEIGHT - _TOP - _BOTTOM)

    for tick in ticks:
        _, y = place(first, tick)
        _add(root, "line", "grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y)
        _write(root, f"{tick:g}", "tick end", _LEFT - 5, y + 4)
    for x in _thin(xs):
        across, _ = place(x, 0)
        _write(root, f"{x:g}", "tick middle", across, _HEIGHT - _BOTTOM + 16)
    _write(root, chart.x_title, "tick middle", (WIDTH + _LEFT) / 2, _HEIGHT - 6)
    for colour, one in enumerate(chart.lines):
        group = SubElement(root, "g")
        SubElement(group, "title").text = line(one.name)
        spots = [place(x, y) for x, y in one.points]
        path = SubElement(group, "polyline", {"class": f"line c{colour} d{colour % 4}"})
        path.set("points", " ".join(f"{x:.4g},{y:.4g}" for x, y in spots))
        for x, y in spots:
            draw_mark(group, colour, x, y)
    return _finish(root)


def draw_mark(parent: Element, colour: int, x: float, y: float) -> None:
    """The mark of a line, by its shape as well as its colour."""
    shape, kind, size = _SHAPES[colour % len(_SHAPES)], f"mark c{colour}", 4.0
    if shape == "circle":
        _add(parent, "circle", kind, cx=x, cy=y, r=size)
        return
    corners = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "triangle": ((0, -1.2), (1.2, 1), (-1.2, 1)),
    }[shape]
    points = " ".join(f"{x + dx * size:.4g},{y + dy * size:.4g}" for dx, dy in corners)
    SubElement(parent, "polygon", {"class": kind, "points": points})


def draw_key(colour: int) -> str:
    """The mark of a line, for the words that say which one it is."""
    root = Element("svg", {"viewBox": "0 0 12 12", "class": "key", "aria-hidden": "true"})
    draw_mark(root, colour, 6, 6)
    return _finish(root)


def find_ticks(most: float) -> list[float]:
    """0 and up to five round steps, the last at or above `most`."""
    if most <= 0:
        return [0.0, 1.0]
    power = 10.0 ** floor(log10(most / 4))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power * 5 >= most)
    return [step * number for number in range(ceil(most / step - 1e-9) + 1)]


def _thin(values: Sequence[float]) -> Sequence[float]:
    """At most eight of them, evenly."""
    return values[:: ceil(len(values) / 8)]
