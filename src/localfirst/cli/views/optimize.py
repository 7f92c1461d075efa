"""What is going to be built, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.cli.screen import line, wrap
from localfirst.cli.views import words
from localfirst.cli.views.details import render_facts
from localfirst.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.cli.screen import Screen
    from localfirst.cli.views.details import Fact
    from localfirst.services.optimize import Order
    from localfirst.types import InstalledModel


def render_order(order: Order, screen: Screen) -> list[str]:
    """The plan of a build: from what, by what, and what it takes."""
    return [screen.paint(line(order.name), "bold"), *render_facts(_list_order(order), screen)]


def _list_order(order: Order) -> Iterator[Fact]:
    source, cost, tool = order.source, order.cost, order.tool
    yield "  From", f"{line(source.label)}"
    yield "", f"{line(source.architecture)}, {format_count(source.sizes.parameters)} parameters"
    yield "  Build", f"onnx {order.precision} for {order.device}, about {format_bytes(cost.output_bytes)}"
    yield "  By", f"{tool.engine}, {line(tool.python)}" if tool.state == "external" else f"{tool.engine} {tool.version}"
    fetches = ", ".join(_list_fetches(order))
    yield "  Fetches", fetches
    free = None if order.free_memory_bytes is None else format_bytes(order.free_memory_bytes)
    need = format_bytes(cost.memory_bytes)
    yield "  Memory", f"about {words.say_share(need, free) + ' free' if free else need} at the peak"
    yield "  Disk", f"about {words.say_share(format_bytes(order.disk_bytes), format_bytes(order.free_disk_bytes))} free"
    yield "  Time", f"about {_say_time(cost.low_s, cost.high_s)}" + (", after the download" if fetches else "")


def _say_time(low_s: float, high_s: float) -> str:
    """`10 to 40 s`, `2 to 14 min`: no more than an estimate knows."""
    if high_s < 100:
        return f"{round(low_s, -1):.0f} to {round(high_s, -1):.0f} s"
    return f"{max(1, round(low_s / 60))} to {round(high_s / 60)} min"


def _list_fetches(order: Order) -> Iterator[str]:
    tool = order.tool
    if tool.python is None:
        on_disk = f", {format_bytes(tool.installed_bytes)} on disk" if tool.installed_bytes else ""
        size = format_bytes(tool.download_bytes) if tool.download_bytes else "of unknown size"
        yield f"the builder ({size}{on_disk})"
    if order.source.fetch_bytes:
        yield f"the weights ({format_bytes(order.source.fetch_bytes)}, removed afterwards)"


def render_made(made: InstalledModel, obstacle: str | None, screen: Screen) -> list[str]:
    """The name to run it by, and its size; `obstacle` is why it does not run here."""
    name, count = line(made.name), len(made.files)
    size = f"{format_bytes(made.size_bytes)} in {count} file{'' if count == 1 else 's'}"
    ending = f"Run it: `lf run {name}`"
    if obstacle:
        ending = f"It does not run here: {line(obstacle)}. `lf bundle create` takes it to another machine."
    state = "made" if obstacle else "ready"
    return [f"{name} is {state}: onnx {line(made.quantization)}, {size}", *wrap(ending, screen.width)]
