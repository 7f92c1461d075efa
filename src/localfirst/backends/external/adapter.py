"""Finds what to start, for models that run in programs which serve OpenAI's dialect over HTTP.

llamafile, llama.cpp's server, vLLM, SGLang, TensorRT-LLM: what differs between them is in `table`, how one is
started and asked in `served`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.backends import limits
from localfirst.backends.external import files, table
from localfirst.backends.external.process import ServerProcess
from localfirst.backends.external.served import Launcher, ServedModel
from localfirst.errors import DeviceError, ModelFileError, RuntimeMissingError
from localfirst.headers.llamafile import REST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.backends.base import LoadOptions, ModelFiles
    from localfirst.types import Placement

VERSION_TIMEOUT_S = 15.0
"""For `--version`, in which vLLM imports PyTorch; less than a worker has to say what it sees."""
MOST_WINDOWS_BYTES = 4 * 2**30
"""Windows runs no program of 4 GiB or more. Source: mozilla-ai/llamafile, `docs/troubleshooting.md`."""
OLDEST_LLAMAFILE = (0, 10)
"""Before it, the server inside was another one, with other options and routes."""


class ServerBackend:
    """Starts one kind of server program."""

    server: table.Server
    placements: tuple[Placement, ...] = ("gpu",)

    def __init__(self, program: str | None = None) -> None:
        """Take the program to start, where the model is not its own."""
        self._program = program

    def list_devices(self) -> tuple[str, ...]:
        """None: which devices such a program sees, it says only when it has loaded a model."""
        return ()

    def describe_build(self) -> str:
        """What the program answers to `--version`, in one line."""
        if self._program is None:
            return f"{self.server.engine}: each model brings its own"
        return f"{self._program}: {_ask_version(self._wrap(self._program))}"

    def load(self, files: ModelFiles, options: LoadOptions) -> ServedModel:
        """Start the program with a model, and wait until it answers.

        Raises:
            ModelFileError: a file is missing or damaged.
            UsageError: it cannot spread a model, or make vectors, as it is asked to.
            DeviceError: it does not compute where it is asked to.
            EngineError: it ends, or does not answer; its last words are in the detail.
        """
        main = Path(files.main)
        table.refuse_spreading(self.server.engine, self.server.spreads, options.parallel)
        if not self.server.batches:
            limits.refuse_batch(self.server.engine, options.batch_tokens)
        if options.placement not in self.placements:
            message = f"{self.server.engine} is not started for a device of kind `{options.placement}`"
            raise DeviceError(message, detail=f"it is for: {', '.join(self.placements)}")
        described = self._describe(main)
        options = replace(options, pooling=options.pooling or described.pooling)
        table.refuse_pooling(self.server, options.pooling)
        context_tokens = min(filter(None, (options.context_tokens, described.context_tokens)), default=None)
        if context_tokens is None:
            raise ModelFileError(f"{main.name} does not say how long its context is")
        program, opened = self._find_program(main, described, options.report)
        return ServedModel(
            Launcher(self.server, program, opened, context_tokens, options), described, context_tokens, options
        )

    def _wrap(self, program: str) -> tuple[str, ...]:
        """How the program is started."""
        return (program,)

    def _describe(self, main: Path) -> files.Described:
        return files.read_folder(main)

    def _find_program(
        self, main: Path, _described: files.Described, _report: Callable[[str, bool], None]
    ) -> tuple[tuple[str, ...], str]:
        """What to start, and what it is to open."""
        if self._program is None:
            raise RuntimeMissingError(f"{self.server.engine} is not here")
        return self._wrap(self._program), str(main)


class VllmBackend(ServerBackend):
    """vLLM, from a folder."""

    server = table.VLLM


class SglangBackend(ServerBackend):
    """SGLang, from a folder."""

    server = table.SGLANG


class TensorrtBackend(ServerBackend):
    """TensorRT-LLM, from a folder."""

    server = table.TENSORRT


class LlamaServerBackend(ServerBackend):
    """llama.cpp's own server, from a GGUF file."""

    server = table.LLAMA_SERVER
    placements = ("cpu",)

    def _describe(self, main: Path) -> files.Described:
        return files.read_gguf(main)


class LlamafileBackend(ServerBackend):
    """A llamafile, which is its own server; or, by a llamafile without a model, any GGUF file."""

    server = table.LLAMAFILE
    placements = ("cpu",)

    def _wrap(self, program: str) -> tuple[str, ...]:
        return wrap_program(program)

    def _describe(self, main: Path) -> files.Described:
        if main.suffix.lower() == ".gguf":
            return files.read_gguf(main)
        return files.read_llamafile(main)

    def _find_program(
        self, main: Path, described: files.Described, report: Callable[[str, bool], None]
    ) -> tuple[tuple[str, ...], str]:
        if described.member is not None:
            problem = find_obstacle(main, described.arguments, sys.platform) or _find_age(main)
            if problem is None:
                if "--unsecure" in described.arguments:
                    report(f"{main.name} switches its own sandbox off", True)
                return self._wrap(str(main)), f"/zip/{described.member}"
            if self._program is None:
                raise RuntimeMissingError(
                    f"{main.name} cannot be its own program here: {problem}",
                    hint="Name a llamafile of version 0.10 or newer that has no model inside in `LF_RUNTIME_LLAMAFILE`:"
                    " it runs the model that this one has",
                )
            report(f"{main.name} is opened by {self._program}: {problem}", True)
        if self._program is None:
            raise RuntimeMissingError(
                "A GGUF file needs a llamafile program",
                hint="Name one in `LF_RUNTIME_LLAMAFILE`, or leave out `#llamafile`",
            )
        return self._wrap(self._program), str(main)


def find_obstacle(main: Path, arguments: Sequence[str], platform: str) -> str | None:
    """Why a llamafile cannot be started as it is; `None` where it can."""
    if platform == "win32" and main.stat().st_size >= MOST_WINDOWS_BYTES:
        return "Windows runs no program of 4 GB or more"
    if REST in arguments and arguments[-1] != REST:
        return "its own arguments would win over lf's"
    if platform != "win32" and not os.access(main, os.X_OK):
        return f"it may not be run; `chmod +x {main}` allows it"
    return None


def _find_age(main: Path) -> str | None:
    """What is wrong with the version of a llamafile."""
    told = _ask_version(wrap_program(str(main)))
    numbers = tuple(int(part) for part in told.rpartition("v")[2].split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_LLAMAFILE:
        return f"its engine is {told}, whose server lf does not speak to"
    return None


def wrap_program(program: str, platform: str = sys.platform) -> tuple[str, ...]:
    """How a llamafile is started: by a shell, for it begins as a script.

    Kernels know its format only where somebody registered it, and others take it for a Windows program. Source:
    mozilla-ai/llamafile, `docs/troubleshooting.md`.
    """
    return (program,) if platform == "win32" else ("/bin/sh", program)


def _ask_version(program: tuple[str, ...]) -> str:
    """What a program answers to `--version`.

    Raises:
        EngineError: it cannot be run, or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="lf-server-") as folder:
        process = ServerProcess(f"`{program[-1]} --version`", [*program, "--version"], os.environ, Path(folder))
        try:
            lines = process.wait_for_words(VERSION_TIMEOUT_S).splitlines()
        finally:
            process.close()
    return next((line for line in lines if "version" in line or " v" in line), lines[0] if lines else "no version")
