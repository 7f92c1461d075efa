"""What installed engines themselves see: where an engine sees no device, it is not offered for one.

The probe finds a GPU by its driver's tools; an engine may still not see it, because its build, the driver or a
container stands between. So each engine for a device is asked once, in a process of its own, and again when its
version, a driver, or a variable that hides devices changes; one that did not answer is asked again after a while.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.catalog.rules import READY_STATES
from localfirst.errors import LfError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localfirst.types import Machine, Runtime


HIDING = ("CUDA_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
"""Variables that hide devices from engines."""
FAILURE_LASTS_S = 600.0
ANSWER_LASTS_S = 30 * 86400.0


class Sight(NamedTuple):
    """What an engine sees: its names of the devices, or why it is of no use for any."""

    devices: tuple[str, ...]
    reason: str = ""


def look(runtime: Runtime) -> tuple[str, ...]:
    """The devices that a ready runtime's engine sees.

    Raises:
        LfError: the engine does not come up, dies, or does not answer in time.
    """
    from localfirst.worker.client import Worker

    with Worker(runtime.python or "") as worker:
        return worker.look(runtime.backend).devices


def find_sights(
    runtimes: Sequence[Runtime], machine: Machine, look: Callable[[Runtime], tuple[str, ...]] = look
) -> Mapping[str, Sight]:
    """What each ready runtime for devices sees on this machine; nothing is asked where there are none."""
    drivers = sorted({f"{device.name} {device.driver}" for device in machine.devices})
    hidden = [f"{name}={os.environ[name]}" for name in HIDING if name in os.environ]
    sights = {}
    for runtime in runtimes:
        if runtime.program or runtime.placement == "cpu" or runtime.state not in READY_STATES or not drivers:
            continue
        key = " ".join((runtime.name, runtime.version, runtime.python or "", *drivers, *hidden))
        known = _read()
        sight, until_s = known.get(key, (Sight(()), 0.0))
        if until_s < time.time():
            sight, lasts_s = _ask(runtime, look)
            _write(known | {key: (sight, time.time() + lasts_s)})
        sights[runtime.name] = sight
    return sights


def _ask(runtime: Runtime, look: Callable[[Runtime], tuple[str, ...]]) -> tuple[Sight, float]:
    """What the runtime sees, and for how many seconds to believe it."""
    try:
        devices = look(runtime)
    except LfError as error:
        return Sight((), f"its engine cannot say which devices it sees: {error.message}"), FAILURE_LASTS_S
    reason = f"its engine ({runtime.engine} {runtime.version}) sees no such device; `lf runtime test` says what it sees"
    # Without a version nothing tells that an engine of the user's own was exchanged.
    lasts_s = FAILURE_LASTS_S if runtime.version == "unknown" else ANSWER_LASTS_S
    return Sight(tuple(devices), "" if devices else reason), lasts_s


def _read() -> dict[str, tuple[Sight, float]]:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        known = json.loads(_file().read_text(encoding="utf-8"))
        return {
            str(key): (Sight(tuple(map(str, devices)), str(reason)), float(until_s))
            for key, (devices, reason, until_s) in known.items()
        }
    return {}


def _write(known: Mapping[str, tuple[Sight, float]]) -> None:
    with suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        partial = _file().with_suffix(".partial")
        partial.write_text(
            json.dumps({key: (one.devices, one.reason, until_s) for key, (one, until_s) in known.items()}),
            encoding="utf-8",
        )
        partial.replace(_file())


def _file() -> Path:
    return paths.cache_dir() / "devices.json"
