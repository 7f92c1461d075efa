"""What installed engines themselves see: where an engine sees no device, it is not offered for one.

The probe finds a GPU by its driver's tools; an engine may still not see it, because its build, the driver or a
container stands between. So each engine for a device is asked once, in a process of its own, and again when its version
or a driver changes.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.catalog.rules import READY_STATES
from localfirst.errors import LfError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localfirst.types import Machine, Runtime


def look(runtime: Runtime) -> tuple[str, ...]:
    """The devices that a ready runtime's engine sees.

    Raises:
        LfError: the engine does not come up, dies, or does not answer in time.
    """
    from localfirst.worker.client import Worker

    with Worker(runtime.python or "") as worker:
        return worker.look(runtime.backend)


def find_blind(
    runtimes: Sequence[Runtime], machine: Machine, look: Callable[[Runtime], tuple[str, ...]] = look
) -> Mapping[str, str]:
    """The ready runtimes whose engines see no device of this machine, each with the reason."""
    drivers = sorted({f"{device.name} {device.driver}" for device in machine.devices})
    reasons = {}
    for runtime in runtimes:
        if runtime.placement == "cpu" or runtime.state not in READY_STATES or not drivers:
            continue
        key = " ".join((runtime.name, runtime.version, runtime.python or "", *drivers))
        known = _read()
        if key not in known:
            known[key] = _describe(runtime, look)
            _write(known)
        if known[key]:
            reasons[runtime.name] = known[key]
    return reasons


def _describe(runtime: Runtime, look: Callable[[Runtime], tuple[str, ...]]) -> str:
    """Why the runtime is of no use, or nothing."""
    try:
        devices = look(runtime)
    except LfError as error:
        return f"its engine cannot say which devices it sees: {error.message}"
    return "" if devices else f"its engine ({runtime.engine} {runtime.version}) sees no such device"


def _read() -> dict[str, str]:
    with suppress(OSError, ValueError):
        known = json.loads(_file().read_text(encoding="utf-8"))
        if isinstance(known, dict) and all(isinstance(reason, str) for reason in known.values()):
            return known
    return {}


def _write(known: Mapping[str, str]) -> None:
    with suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        partial = _file().with_suffix(".partial")
        partial.write_text(json.dumps(known), encoding="utf-8")
        partial.replace(_file())


def _file() -> Path:
    return paths.cache_dir() / "devices.json"
