"""Whether engines can be compiled here, and what it would bring or has brought, for `lf doctor`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from localfirst.errors import LfError
from localfirst.runtimes.compile import find_compiler
from localfirst.services import engines, yardstick
from localfirst.services.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.services.yardstick import Gain


def check_compiler() -> Iterator[Check]:
    """Whether engines can be compiled here, and what it brings or has brought."""
    try:
        compiler = find_compiler()
    except LfError:
        yield Check("Compiler", "note", "none; engines come ready-made")
        return
    yield Check("Compiler", "ok", "there is one", (compiler.command,))
    with suppress(LfError):  # what is wrong with a runtime is told when it is tested
        runtimes = engines.find_runtimes()
        gain = yardstick.find_known(runtimes) or yardstick.compare(runtimes, lambda _: None)
        if gain is not None:
            yield judge_gain(gain)
        elif (name := yardstick.find_offer(runtimes)) is not None:
            summary = f"{name}: llama.cpp compiled for this very processor may be faster; compiling takes minutes"
            yield Check("Compiled", "note", summary, (), f"Type `lf runtime install {name}`; it says by how much")


def judge_gain(gain: Gain) -> Check:
    """What a compiled engine is worth."""
    if max(gain.times, gain.prefill_times) > 1:
        return Check("Compiled", "ok", gain.say())
    return Check("Compiled", "note", gain.say(), (), f"It is of no use here: `lf runtime remove {gain.compiled}`")
