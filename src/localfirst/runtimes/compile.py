"""Compile a runtime's engine on the machine that it is for: by which compiler, with which flags, and how far it is.

Pure but for `find_compiler` and `compile_engine`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import RuntimeMissingError
from localfirst.inheritance import inherit
from localfirst.runtimes import failure
from localfirst.runtimes.command import Limits, run_command
from localfirst.runtimes.environment import find_pip
from localfirst.runtimes.wheels import format_pin, read_pins, this_python
from localfirst.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localfirst.runtimes.table import RuntimeRow

ASK_S = 10.0
LIMITS = Limits(silence_s=1800, total_s=3 * 3600)
"""One file of llama.cpp takes minutes on a slow machine, and says nothing meanwhile."""
COMPILERS = ("c++", "g++", "clang++")
FIRST_SOUND_GCC = 13
"""Older ones miscompile AMX: `_tile_loadconfig` declares 8 of the 64 bytes that it reads, and prompts of 40 tokens and
more end the process."""
X86_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "avx": ("GGML_AVX",),
    "avx2": ("GGML_AVX2", "GGML_BMI2"),
    "fma": ("GGML_FMA",),
    "f16c": ("GGML_F16C",),
    "avx_vnni": ("GGML_AVX_VNNI",),
    "avx512f": ("GGML_AVX512",),
    "avx512_vnni": ("GGML_AVX512_VNNI",),
    "avx512_vbmi": ("GGML_AVX512_VBMI",),
    "avx512_bf16": ("GGML_AVX512_BF16",),
    "amx_int8": ("GGML_AMX_TILE", "GGML_AMX_INT8"),
    "amx_bf16": ("GGML_AMX_BF16",),
}
"""What a processor has, and the options of ggml that use it or what always comes with it. Source: `ggml/CMakeLists.txt`
in ggml-org/llama.cpp."""
TILES = frozenset(("amx_int8", "amx_bf16"))
LEFT_OUT = (
    "LLAVA_BUILD", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_TOOLS", "LLAMA_BUILD_SERVER",
    "LLAMA_BUILD_APP", "LLAMA_OPENSSL", "GGML_CCACHE",
)  # fmt: skip
"""Parts that no adapter uses."""
SKIPPED = "set(LLAMA_BUILD_COMMON OFF)\n"
"""One part more, 57 of 140 files, that llama-cpp-python's project switches on whatever it is told. A plain variable
that is set when a project begins wins over that, by CMake's policy CMP0126."""
PACKAGES = (
    ("apt-get", "sudo apt-get install g++"),
    ("dnf", "sudo dnf install gcc-c++"),
    ("pacman", "sudo pacman -S gcc"),
    ("zypper", "sudo zypper install gcc-c++"),
    ("apk", "sudo apk add g++ linux-headers"),
)
_STEP = re.compile(r"^\s*\[(\d+)/(\d+)\] ")


class Compiler(NamedTuple):
    """A C++ compiler on this machine."""

    words: tuple[str, ...]
    """What starts it: its path, or that of a wrapper and what stands behind it, as in `ccache g++`."""
    gcc: int | None
    """Its major version, where it is GCC."""

    @property
    def command(self) -> str:
        """Its words as CMake reads them in `CXX`: a path by itself is not quoted."""
        return self.words[0] if len(self.words) == 1 else shlex.join(self.words)


class Workshop(NamedTuple):
    """What an engine is compiled with."""

    compiler: Compiler
    flags: tuple[str, ...]
    jobs: int


def find_compiler() -> Compiler:
    """The C++ compiler that CMake would take: the one that `CXX` names, else the first on the path.

    Raises:
        RuntimeMissingError: there is none, and the hint is what this system's package manager installs one by;
            or `CXX`, or `CC` for the parts in C, names none.
    """
    _find_named("CC", "C")
    words = _find_named("CXX", "C++") or tuple(filter(None, map(shutil.which, COMPILERS)))[:1]
    if not words:
        install = next((command for manager, command in PACKAGES if shutil.which(manager)), None)
        raise RuntimeMissingError(
            "There is no C++ compiler on this machine",
            detail=f"looked for {', '.join(COMPILERS)}",
            hint=f"Type `{install}`" if install else "Install GCC or Clang by your system's package manager",
        )
    macros = ""
    with suppress(OSError, subprocess.TimeoutExpired):
        argv = (*words, "-dM", "-E", "-x", "c++", os.devnull)
        macros = subprocess.run(
            argv, env=inherit(os.environ), capture_output=True, text=True, check=False, timeout=ASK_S
        ).stdout
    return Compiler(words, parse_gcc(macros))


def _find_named(variable: str, language: str) -> tuple[str, ...]:
    """What starts the compiler that a variable names, none where it names none: a path, else words as for a shell.

    In this order, as CMake reads it (`get_filename_component` with `PROGRAM_ARGS`), so a path may have spaces in it.

    Raises:
        RuntimeMissingError: there is no such program.
    """
    named = os.environ.get(variable, "").strip()
    if not named:
        return ()
    with suppress(ValueError):  # a quotation that does not end
        for program, *behind in ([named], shlex.split(named)):
            if path := shutil.which(program):
                return (path, *behind)
    raise RuntimeMissingError(
        f"{variable} names no compiler: {named}",
        hint=f"Unset {variable}, or set it to the path of a {language} compiler",
    )


def parse_gcc(macros: str) -> int | None:
    """The major version of GCC from the macros that a compiler defines; Clang defines those of an old GCC too."""
    found = re.search(r"^#define __GNUC__ (\d+)$", macros, re.MULTILINE)
    return int(found[1]) if found and "__clang__" not in macros else None


def find_flags(arch: str, features: frozenset[str], compiler: Compiler) -> tuple[str, ...]:
    """What CMake is told: everything that this processor has, but for AMX where the compiler gets it wrong.

    On x86 by name, for `GGML_NATIVE` takes AMX in whatever the compiler.

    Args:
        arch: `x86_64` or `arm64`.
        features: the processor's, as the probe calls them.
        compiler: the one that will be used.
    """
    used = features - TILES if compiler.gcc is not None and compiler.gcc < FIRST_SOUND_GCC else features
    named = {option: "ON" if name in used else "OFF" for name, more in X86_OPTIONS.items() for option in more}
    processor = {"GGML_NATIVE": "OFF"} | named if arch == "x86_64" else {"GGML_NATIVE": "ON"}
    options = {"CMAKE_BUILD_TYPE": "Release"} | processor | dict.fromkeys(LEFT_OUT, "OFF")
    return tuple(f"-D{name}={value}" for name, value in options.items())


def compile_engine(  # noqa: PLR0913 - one keyword per thing that callers decide
    row: RuntimeRow,
    workshop: Workshop,
    environment: Path,
    *,
    title: str,
    again: str,
    log: Path,
    keep_open: tuple[int, ...],
    on_line: Callable[[str], None],
) -> None:
    """Make an environment with the engine compiled in it, from pinned source; its folder's parent is the workplace.

    What compiles is removed from it again. All that is said goes to `log`, what the user sees to `on_line`.

    Raises:
        DiskFullError: an installer or the compiler ran out of space.
        NetworkError: the package index cannot be reached, or refuses.
        RuntimeMissingError: it failed for another reason; the evidence is in the detail.
    """
    work = environment.parent
    temporary = work / "temporary"
    temporary.mkdir()
    skipped = work / "skipped.cmake"
    skipped.write_text(SKIPPED, encoding="utf-8")
    settings = {
        "CMAKE_ARGS": shlex.join((*workshop.flags, f"-DCMAKE_PROJECT_INCLUDE={skipped}")),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(workshop.jobs),
        "CXX": workshop.compiler.command,
        "TMPDIR": str(temporary),
    }
    lines = _Lines(on_line)
    with log.open("w", encoding="utf-8") as file:
        file.write(f"{settings}\n")
        for argv in _list_commands(row, environment, work):
            file.write(f"$ {' '.join(argv)}\n")

            def tell(line: str) -> None:
                file.write(f"{line}\n")
                lines.take(line)

            outcome = run_command(
                argv, folder=work, on_line=tell, keep_open=keep_open, settings=settings, limits=LIMITS
            )
            if not outcome.ok:
                file.write(outcome.lines[-1] if outcome.lines else "")
                raise _explain(title, outcome.lines, log, again)
    shutil.rmtree(temporary, ignore_errors=True)


def _list_commands(row: RuntimeRow, environment: Path, work: Path) -> tuple[Sequence[str], ...]:
    """The environment; what the engine needs, and what compiles it; the engine; away with what compiles it."""
    make, pip = find_pip(environment)
    pins = read_pins(row, this_python())
    texts = {
        "engine.txt": [pin for pin in pins if pin.name == row.distribution],
        "others.txt": [pin for pin in pins if pin.name != row.distribution],
    }
    for name, chosen in texts.items():
        (work / name).write_text("".join(map(format_pin, chosen)), encoding="utf-8")
    install = (*pip, "install", "--no-user", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    hashed = ("--require-hashes", "--no-deps", "-r")
    tools = sorted(pin.name for pin in pins if pin.name in _TOOLS)
    # A wheel in pip's cache would be taken on another machine that shares this home, and its processor may lack much.
    source = ("--verbose", "--no-build-isolation", "--no-cache-dir", "--no-binary", row.distribution)
    commands: list[Sequence[str]] = [
        make,
        (*install, "--only-binary", ":all:", *hashed, str(work / "others.txt")),
        (*install, *source, *hashed, str(work / "engine.txt")),
    ]
    if tools:
        commands.append((*pip, "uninstall", "--yes", "--disable-pip-version-check", *tools))
    return tuple(commands)


_TOOLS = ("cmake", "ninja", "packaging", "pathspec", "scikit-build-core")
"""Pinned beside the engine, and of no use once it is compiled."""


class _Lines:
    """What of an installer's and a compiler's output is shown: how far it is, and how long it will take."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._began: float | None = None

    def take(self, line: str) -> None:
        """Show a line, or what it means; a compiler's words are for the log."""
        step = _STEP.match(line)
        if step is None:
            if self._began is None:
                self._on_line(line)
            return
        now = time.monotonic()
        self._began = self._began or now
        self._on_line(say_step(int(step[1]), int(step[2]), now - self._began))


def say_step(done: int, total: int, seconds: float) -> str:
    """`compiling, part 35 of 193, about 4 min left`, once enough is done to tell."""
    left = f", about {format_seconds(seconds / done * (total - done))} left" if seconds > ASK_S and done else ""
    return f"compiling, part {done} of {total}{left}"


def _explain(title: str, lines: Sequence[str], log: Path, again: str) -> Exception:
    """Why it failed: a compiler's errors, else the last lines; the rest is in the log."""
    errors = [line for line in lines if "error:" in line.lower() or "FAILED" in line]
    return failure.explain(f"{title} could not be compiled", {"pip": errors or lines}, log=log, again=again)
