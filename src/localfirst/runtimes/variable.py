"""The variables by which users name engines of their own: `LF_RUNTIME_<NAME>=/path`. A wrong one harms nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.errors import RuntimeMissingError, WorkerCrashError

if TYPE_CHECKING:
    from localfirst.errors import LfError
    from localfirst.types import Runtime

HINT = "Set it to the path of one, or unset it"


class Named(NamedTuple):
    """What the variable of a runtime says: the file that it names, or what is wrong with it."""

    path: str | None = None
    problem: str | None = None


def variable_of(name: str) -> str:
    """`onnx-cpu` -> `LF_RUNTIME_ONNX_CPU`."""
    return f"LF_RUNTIME_{name.upper().replace('-', '_')}"


def read_variable(name: str, wanted: str) -> Named:
    """The executable that the environment names for a runtime; neither path nor problem where it names none.

    `wanted` is what it should name, in words. Links are kept: one of them is what makes an environment's own.
    """
    variable = variable_of(name)
    value = os.environ.get(variable)
    if not value:
        return Named()
    path = paths.expand(value).absolute()
    if path.is_file() and os.access(path, os.X_OK):
        return Named(str(path))
    return Named(problem=f"`{variable}` does not name {wanted}: {value}")


def refuse_problem(problem: str) -> RuntimeMissingError:
    """The error for whoever wants the runtime that such a variable is for."""
    return RuntimeMissingError(problem, hint=HINT)


def advise(error: LfError, runtime: Runtime | None) -> LfError:
    """An error of starting an engine, with the variable named where that is why this one was started."""
    if runtime is None or runtime.state != "external" or not isinstance(error, (RuntimeMissingError, WorkerCrashError)):
        return error
    if value := os.environ.get(variable := variable_of(runtime.name)):
        error.hint = error.hint or f"`{variable}` names what was started, {value}. {HINT}"
    return error
