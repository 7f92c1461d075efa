"""Engines on this machine: which there are, installing the one that a plan needs, and proving that one works."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.catalog.place import explain_missing_device
from localfirst.conversation import Answer, Message, Sampling
from localfirst.errors import EngineError, LfError, RuntimeMissingError, UnknownNameError
from localfirst.hwprobe.probe import probe
from localfirst.paths import starter_dir
from localfirst.runtimes import builder, find
from localfirst.runtimes import install as installer
from localfirst.runtimes.compile import Workshop, find_compiler, find_flags
from localfirst.runtimes.folder import clear_failure, find_folders, write_failure
from localfirst.runtimes.programs import find_programs, get_program
from localfirst.runtimes.table import RUNTIMES, TOOLS, find_row
from localfirst.runtimes.variable import advise, refuse_problem
from localfirst.services.threads import find_threads
from localfirst.types import Progress, Runtime
from localfirst.units import format_bytes
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.runtimes.environment import Recipe
    from localfirst.types import Format

STARTER_FILES: dict[Format, str] = {
    "gguf": "gguf/starter-q4_0.gguf",
    "onnx": "onnx",
    "mlx": "mlx",
    "openvino": "openvino",
    "litertlm": "litert/starter.litertlm",
}
"""What an engine opens of the built-in starter model, by format."""
TEST_FILES = {"bitnet": "bitnet/answer-tq2_0.gguf"}
"""What adapters are tested with that load no plain model: a file that knows the one answer."""

COMPILED = frozenset(row.name for row in RUNTIMES if row.compiled)
CORE_MINUTES = (4, 15)
"""What compiling llama.cpp takes of one core: 3.9 minutes of processor time on a server of 2023, 15 when it is busy."""
SOURCE_BYTES = 130_000_000
"""The source (77 MB), CMake (31 MB), NumPy (17 MB) and what is small."""

TEST_QUESTION = "How do I list the models that fit this machine?"
TEST_ANSWER = "lf model list --fits"
TEST_PADDING = (
    "You are a helper for people who are new to running language models on their own computer. "
    "Answer in one or two short sentences, name the command to type, and say nothing that you do not know. "
)
"""Makes the prompt longer than 64 tokens: builds of llama.cpp by GCC 12 crash on AMX machines from 40 tokens on, and
a short test would pass."""


@dataclass(frozen=True, slots=True)
class EngineTest:
    """The outcome of an engine's self-test. `error` is `None` when it passed."""

    runtime: Runtime
    engine_version: str | None
    device: str | None
    load_s: float | None
    answer: Answer | None
    error: LfError | None
    build: str | None = None
    """What the engine says of its build."""


def find_runtimes() -> tuple[Runtime, ...]:
    """Every runtime as it stands on this machine."""
    machine = probe()
    system = (machine.platform, machine.cpu.arch)
    return find.find_runtimes(*system) + find_programs(*system)


def find_tools() -> tuple[Runtime, ...]:
    """Programs that are installed as runtimes are, and load no model."""
    machine = probe()
    return find.find_runtimes(machine.platform, machine.cpu.arch, TOOLS)


def find_index(name: str) -> str | None:
    """The address that a runtime is installed from, where it is known."""
    if get_program(name):
        return None
    return installer.find_index(find_row(name))


def find_runtime(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        UnknownNameError: there is none.
    """
    runtimes = (*find_runtimes(), *find_tools())
    for runtime in runtimes:
        if runtime.name == name:
            return runtime
    known = [runtime.name for runtime in runtimes]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    raise UnknownNameError(
        f"No runtime named `{name}`",
        detail=None if near else f"known: {', '.join(known)}",
        hint=f"Did you mean `{near[0]}`?" if near else "See them with `lf runtime list`",
    )


def ensure(runtime: Runtime, *, offline: bool, may_install: bool, report: Callable[[Progress], None]) -> Runtime:
    """The runtime, installed first where it is missing.

    Raises:
        RuntimeMissingError: it is missing and may not or cannot be installed.
        NetworkError: it cannot be installed because the package index cannot be reached, or refuses.
    """
    if runtime.python is not None:
        return runtime
    if runtime.state == "misnamed":
        raise refuse_problem(runtime.reason or "")
    type_this = f"Run `lf runtime install {runtime.name}`"
    size = _say_size(runtime)
    if runtime.state == "unavailable":
        raise RuntimeMissingError(f"The runtime `{runtime.name}` does not exist here", detail=runtime.reason)
    if offline:
        raise RuntimeMissingError(
            f"The runtime `{runtime.name}` ({runtime.engine}) is not installed, and the network is off",
            detail=size,
            hint=f"{type_this} once with a network",
        )
    if not may_install:
        raise RuntimeMissingError(
            f"The runtime `{runtime.name}` ({runtime.engine}) is not installed", detail=size, hint=type_this
        )
    workshop = find_workshop(runtime.name)
    notice = say_work(workshop) if workshop else f"Installing {runtime.engine} {runtime.version} ({size})"
    report(Progress(runtime.name, 0, detail={"notice": notice}))
    return installer.install(
        runtime.name, check=lambda python: _check(runtime, python), report=report, workshop=workshop
    )


def find_workshop(name: str) -> Workshop | None:
    """What the runtime of a name would be compiled with; `None` for one that comes ready-made, or cannot be here.

    Raises:
        RuntimeMissingError: there is no compiler here.
    """
    if name not in COMPILED or find.this_system() not in find_row(name).sizes:
        return None
    cpu, compiler = probe().cpu, find_compiler()
    return Workshop(compiler, find_flags(cpu.arch, frozenset(cpu.features), compiler), cpu.cores_usable or 1)


def say_work(workshop: Workshop) -> str:
    """What compiling takes, before it begins."""
    least, most = (ceil(minutes / workshop.jobs) for minutes in CORE_MINUTES)
    return (
        f"Compiling llama.cpp for this processor by {workshop.compiler.command}, {workshop.jobs} at a time: "
        f"about {least} to {most} minutes, with {format_bytes(SOURCE_BYTES)} to fetch"
    )


def _say_size(runtime: Runtime) -> str:
    if runtime.download_bytes is None:
        return "its maker does not say how large it is"
    return f"{format_bytes(runtime.download_bytes)} to fetch, {format_bytes(runtime.installed_bytes)} on disk"


def install(name: str, *, offline: bool, report: Callable[[Progress], None]) -> Runtime:
    """Install the runtime of a name, also where that failed before.

    Raises:
        UnknownNameError: there is none.
        RuntimeMissingError: it cannot be installed.
    """
    if (program := get_program(name)) is not None:
        raise RuntimeMissingError(
            f"{program.engine} is a program of your own, which `lf` uses and does not install",
            detail=f"it takes {program.install}",
            hint=f"Put it on the path as `{program.command}`; `lf runtime list` then shows it",
        )
    clear_failure(find_row(name))
    return ensure(find_runtime(name), offline=offline, may_install=True, report=report)


def install_wheels(name: str, wheels: Recipe, *, report: Callable[[Progress], None]) -> Runtime:
    """Install the runtime of a name from files, without any network.

    Raises:
        UnknownNameError: there is none.
        RuntimeMissingError: it cannot be installed, or does not work here.
    """
    clear_failure(find_row(name))
    runtime = find_runtime(name)
    report(Progress(name, 0, detail={"notice": f"Installing {runtime.engine} {runtime.version} from the bundle"}))
    return installer.install(name, check=lambda python: _check(runtime, python), report=report, wheels=wheels)


def remember_failure(runtime: Runtime, error: LfError) -> None:
    """Let the next commands do without a runtime that could not be installed."""
    write_failure(find_row(runtime.name), error.message)


def remove(names: Sequence[str]) -> dict[str, int]:
    """Remove runtimes that `lf` installed; the bytes that each freed. All of them, or none.

    Raises:
        UnknownNameError: there is no runtime of one of the names.
        RuntimeMissingError: `lf` did not install one of them.
    """
    chosen = tuple(dict.fromkeys(find_runtime(name).name for name in names))
    for name in chosen:
        if get_program(name) or not find_folders(name):
            raise RuntimeMissingError(
                f"The runtime `{name}` was not installed by lf", hint="See what is: `lf runtime list`"
            )
    return {name: installer.remove(name) for name in chosen}


def run_tests(names: Sequence[str] = ()) -> tuple[EngineTest, ...]:
    """Test the runtimes of these names, or every runtime that is there.

    Raises:
        UnknownNameError: there is no runtime of one of the names.
        RuntimeMissingError: no runtime is there to be tested.
    """
    if names:
        chosen = [find_runtime(name) for name in dict.fromkeys(names)]
        return tuple(test(runtime) for runtime in chosen)
    present = list(filter(is_testable, find_runtimes()))
    if not present:
        raise RuntimeMissingError("No runtime is installed", hint="See which exist: `lf runtime list`")
    return tuple(test(runtime) for runtime in present)


def test(runtime: Runtime) -> EngineTest:
    """Let the built-in starter model answer a known question in this runtime's engine."""
    if runtime.python is None:
        wrong = refuse_problem(runtime.reason) if runtime.state == "misnamed" and runtime.reason else None
        error = wrong or RuntimeMissingError(f"`{runtime.name}` is not installed")
        return EngineTest(runtime, None, None, None, None, error)
    try:
        if not runtime.formats:
            return EngineTest(runtime, builder.ask_version(runtime.python), "CPU", None, None, None)
        return _test_in(runtime, runtime.python)
    except LfError as error:
        return EngineTest(runtime, None, None, None, None, advise(error, runtime))


def explain_uselessness(runtime: Runtime) -> str | None:
    """Why nothing here could use a runtime that could be installed; `None` where something could."""
    if get_program(runtime.name) or find.this_system() not in find_row(runtime.name).sizes:
        return None
    missing = explain_missing_device(probe(), runtime)
    return f"{missing}. Nothing here can use it, and what fails its test is not kept" if missing else None


def list_runtimes() -> tuple[Runtime, ...]:
    """Every runtime as it stands here, and of those that have nothing to compute on here, what they lack."""
    machine = probe()
    return tuple(
        runtime._replace(reason=runtime.reason or explain_missing_device(machine, runtime))
        for runtime in find_runtimes()
    )


def is_testable(runtime: Runtime) -> bool:
    """Whether a runtime is here, or is said to be, with a starter model to try, and somebody wants it here.

    What a package in `lf`'s own interpreter brings besides, for devices that this machine lacks, nobody asked for.
    """
    if runtime.state == "misnamed":
        return True
    if runtime.python is None or find_starter(runtime) is None:
        return False
    return runtime.state != "importable" or explain_missing_device(probe(), runtime) is None


def find_starter(runtime: Runtime) -> Path | None:
    """What a runtime opens of the built-in starter model; `None` where that is not there in any format of its own."""
    names = (TEST_FILES.get(runtime.backend), *(STARTER_FILES.get(one) for one in runtime.formats))
    return next((Path(starter_dir(), name) for name in names if name), None)


def _check(runtime: Runtime, python: str) -> None:
    if not runtime.formats:
        builder.ask_version(python)
        return
    outcome = _test_in(runtime, python)
    if outcome.error is not None:
        raise outcome.error


def _test_in(runtime: Runtime, python: str) -> EngineTest:
    starter = find_starter(runtime)
    if starter is None:
        raise EngineError(
            f"There is no built-in model to test `{runtime.name}` with", detail=f"it loads {', '.join(runtime.formats)}"
        )
    load = protocol.Load(
        backend=runtime.backend,
        main=str(starter),
        context_tokens=None,
        threads=find_threads(),
        placement=runtime.placement,
        program=runtime.program,
    )
    messages = (Message("system", TEST_PADDING * 4), Message("user", TEST_QUESTION))
    with Worker(python) as worker:
        build = worker.look(runtime.backend, runtime.program).build
        begun = time.monotonic()
        info = worker.load(load)
        load_s = time.monotonic() - begun
        # The long system text is there to be read, not obeyed: what the starter makes of it does not matter.
        list(worker.answer(protocol.Chat(messages, Sampling(temperature=0), max_tokens=8)))
        *_, answer = worker.answer(protocol.Chat(messages[1:], Sampling(temperature=0), max_tokens=128))
    if not isinstance(answer, Answer):
        raise EngineError("The engine's answer has no end")
    error = None
    if TEST_ANSWER not in answer.text:
        error = EngineError(
            f"The engine of `{runtime.name}` computes wrong answers",
            detail=f"asked: {TEST_QUESTION}\nexpected an answer with `{TEST_ANSWER}`, got: {answer.text[:200]}",
        )
    return EngineTest(runtime, info.engine_version, info.device, load_s, answer, error, build)
