"""What loading an OpenVINO model takes, whatever it is for: the engine, its devices, its tokenizer, its words."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.backends.openvino.folder import DETOKENIZER_GRAPH, TOKENIZER_GRAPH
from localfirst.errors import DeviceError, EngineError, ModelFileError

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.backends.base import LoadOptions
    from localfirst.backends.openvino.folder import OpenVinoFolder
    from localfirst.types import Placement

LEAST_THREADS = 2
"""With one thread the engine divides by zero on processors with AMX (2026.4.1, SIGFPE)."""
DEVICES = {"cpu": "CPU", "gpu": "GPU", "igpu": "GPU", "npu": "NPU"}
KINDS = {"gpu": "discrete", "igpu": "integrated"}
"""What the engine calls the two kinds of GPU, which both are `GPU.<number>`."""
DAMAGED = re.compile(r"Unable to read the model|pugi::status_ok|weights")
"""What the engine says of files that are damaged or cut short, which only it can see."""
NO_REASON = re.compile(r"^(Exception from .*|Check '.*' failed at .*:\d+:)$")


class Step(NamedTuple):
    """A token that was drawn, and how likely it was, as a logarithm; 0 where that was not asked for."""

    token: int
    log_prob: float = 0.0


def import_openvino() -> Any:
    """The engine, without what calls home, and so that it can run on one core.

    A stub stands for the telemetry package that `openvino` looks for when it is imported; what is in `sys.modules` is
    not looked for. On one core, two threads count as one to the engine, so it must not use AMX (see `LEAST_THREADS`).
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    if _count_cores() == 1:
        os.environ.setdefault("OV_CPU_MAX_ISA", "AVX2")
    import openvino

    return openvino


def _count_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def find_context(path: Path, folder: OpenVinoFolder, options: LoadOptions) -> int:
    """The context that was asked for, but no longer than the model's own.

    Raises:
        ModelFileError: nobody says how long it is.
    """
    found = min(filter(None, (options.context_tokens, folder.context_tokens)), default=None)
    if found is None:
        raise ModelFileError(
            f"{path.name} does not say how long its context is",
            detail="config.json has no max_position_embeddings",
            hint="Say it: `--ctx 4096`",
        )
    return found


def find_device(openvino: Any, placement: Placement) -> tuple[str, str]:
    """The engine's short and full names of the device that a placement means.

    Raises:
        DeviceError: it does not see such a device.
    """
    core, device = openvino.Core(), DEVICES[placement]
    found = core.available_devices
    names = [name for name in found if name.partition(".")[0] == device]
    if not names:
        raise DeviceError(f"OpenVINO sees no {device} here", detail=f"it sees: {', '.join(found)}")
    if placement == "cpu":
        return device, device
    kind = KINDS.get(placement, "")
    name = next((one for one in names if kind in str(core.get_property(one, "DEVICE_TYPE")).lower()), names[0])
    return name, str(core.get_property(name, "FULL_DEVICE_NAME"))


def open_tokenizer(openvino: Any, genai: Any, path: Path) -> Any:
    """The tokenizer, from its two graphs alone: of the whole folder the engine would also read and run the template."""
    import numpy as np

    parts: list[Any] = []
    for name in (TOKENIZER_GRAPH, DETOKENIZER_GRAPH):
        parts.append((path / f"{name}.xml").read_text("utf-8", errors="replace"))
        parts.append(openvino.Tensor(np.fromfile(path / f"{name}.bin", np.uint8)))
    return genai.Tokenizer(*parts)


def make_properties(options: LoadOptions) -> dict[str, Any]:
    """How to compute, in the engine's words."""
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if options.placement == "cpu":
        properties["INFERENCE_NUM_THREADS"] = max(options.threads, LEAST_THREADS)
    return properties


def translate(error: Exception, path: Path) -> EngineError | ModelFileError:
    """What the engine throws while it loads, as an error of ours."""
    words = find_words(error)
    if DAMAGED.search(str(error)):
        return ModelFileError(f"A file of {path.name} is missing or damaged", detail=words)
    return EngineError(f"OpenVINO GenAI could not load {path.name}", detail=words)


def find_words(error: Exception) -> str:
    """What the engine says, without the places in its source that it begins with."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line and not NO_REASON.match(line)) or type(error).__name__
