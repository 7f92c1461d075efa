"""llama.cpp's C functions, as llama-cpp-python binds them, with its devices and its log. Decides nothing.

Sources: `include/llama.h`, `ggml/include/ggml-backend.h` and `ggml/include/ggml.h` in ggml-org/llama.cpp;
`llama_cpp/llama_cpp.py` in abetlen/llama-cpp-python.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

INFO, ERROR, CONTINUED = 2, 4, 5
"""Of `enum ggml_log_level`; the last one goes on with the line before."""
CPU, GPU, INTEGRATED_GPU = 0, 1, 2
"""Of `enum ggml_backend_dev_type`."""


class EngineDevice(NamedTuple):
    """A device that this build computes on: `CUDA0`, `NVIDIA GeForce RTX 4090`."""

    name: str
    description: str
    kind: int


class Log:
    """What llama.cpp says. Errors always reach standard error too: after a crash they are all that is left."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] | None = None
        self._level = INFO
        self.callback: Any = None

    def attach(self, library: Any) -> None:
        """Take the place of the binding's own log."""
        self.callback = library.llama_log_callback(self._accept)  # kept: C holds a bare pointer
        library.llama_log_set(self.callback, None)

    @contextmanager
    def heard(self) -> Iterator[list[tuple[int, str]]]:
        """Collect what is said meanwhile, as level and text."""
        lines: list[tuple[int, str]] = []
        self._lines = lines
        try:
            yield lines
        finally:
            self._lines = None

    def _accept(self, level: int, text: bytes, _data: object) -> None:
        said = text.decode("utf-8", "replace")
        self._level = self._level if level == CONTINUED else level
        if self._level >= ERROR:
            sys.stderr.write(said)
            sys.stderr.flush()
        if self._lines is not None and self._level >= INFO:
            self._lines.append((self._level, said))


LOG = Log()


@cache
def load_library() -> Any:
    """The bindings, with llama.cpp initialized."""
    from llama_cpp import llama_cpp

    LOG.attach(llama_cpp)
    llama_cpp.llama_backend_init()
    return llama_cpp


@cache
def find_version() -> str:
    """The version of the bindings; llama.cpp itself has none in them."""
    import llama_cpp

    version: str = llama_cpp.__version__
    return version


@cache
def find_devices() -> tuple[EngineDevice, ...]:
    """Every device of this build, the CPU among them."""
    load_library()
    registry, devices = open_library("ggml"), open_library("ggml-base")
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.argtypes = (ctypes.c_size_t,)
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    for name, kind in (("name", ctypes.c_char_p), ("description", ctypes.c_char_p), ("type", ctypes.c_int)):
        function = getattr(devices, f"ggml_backend_dev_{name}")
        function.argtypes, function.restype = (ctypes.c_void_p,), kind
    return tuple(
        EngineDevice(
            devices.ggml_backend_dev_name(device).decode(errors="replace"),
            devices.ggml_backend_dev_description(device).decode(errors="replace"),
            devices.ggml_backend_dev_type(device),
        )
        for device in map(registry.ggml_backend_dev_get, range(registry.ggml_backend_dev_count()))
    )


@cache
def find_ggml_version() -> str:
    """The version of the ggml below."""
    base = open_library("ggml-base")
    base.ggml_version.restype = ctypes.c_char_p
    version: bytes = base.ggml_version()
    return version.decode()


@cache
def describe_ggml() -> str:
    """Version and commit of the ggml below, as it was told when it was built."""
    base = open_library("ggml-base")
    base.ggml_commit.restype = ctypes.c_char_p
    return f"ggml {find_ggml_version()}, commit {base.ggml_commit().decode()}"


@cache
def describe_system() -> str:
    """The instruction sets that this build uses on this processor: `CPU : SSE3 = 1 | AVX2 = 1 | ...`."""
    text: bytes = load_library().llama_print_system_info()
    return text.decode().strip(" |\n")


@cache
def read_processor_code() -> bytes:
    """The library that computes on the processor, which has its compiler's name in it; empty where there is none."""
    from llama_cpp import _ggml

    for path in sorted(_ggml.libggml_base_path.glob("*ggml-cpu*")):
        content: bytes = path.read_bytes()
        return content
    return b""


def open_library(name: str) -> ctypes.CDLL:
    """A library beside the bindings; its functions are this module's own, so their types disturb nobody."""
    from llama_cpp import _ctypes_extensions, _ggml

    library: ctypes.CDLL = _ctypes_extensions.load_shared_library(name, _ggml.libggml_base_path)
    return library
