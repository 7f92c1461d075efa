"""The environment variables of a worker: what the engines need, and nothing that a prompt or a model could leak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.inheritance import STEERING, inherit

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXED = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # read by onnxruntime at import; without it 1.32 calls home (seen with strace)
    "GGML_NO_BACKTRACE": "1",  # else an abort in ggml starts a debugger to print native frames
    "PYTHONUTF8": "1",
}


def make_environment(current: Mapping[str, str], *, temporary: str, own_interpreter: bool) -> dict[str, str]:
    """The variables for a worker.

    Args:
        current: the variables of this process.
        temporary: a folder of the worker's own, for TMPDIR.
        own_interpreter: the worker runs in the interpreter that runs `lf`, so variables that steer Python still apply.
    """
    kept = inherit(current, leave=() if own_interpreter else STEERING)
    return kept | FIXED | {"TMPDIR": temporary, "TEMP": temporary, "TMP": temporary}
