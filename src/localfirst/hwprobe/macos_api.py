"""What macOS tells through its libraries: `sysctlbyname`, Metal, psutil for free memory. Imported on macOS alone."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from localfirst.hwprobe import psutil_api
from localfirst.hwprobe.posix_api import disk_free_bytes, load_average, machine, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["VALUES", "disk_free_bytes", "machine", "registry", "sysctl"]

_FRAMEWORKS = "/System/Library/Frameworks"
_TEXTS = frozenset({"hw.model", "machdep.cpu.brand_string"})
"""`sysctl` names whose value is text; the others asked here are integers of 4 or 8 bytes."""


def sysctl(name: str) -> str | None:
    """A value of `sysctlbyname(3)` as text, without starting a process; `None` for a name this Mac does not know."""
    try:
        call = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return None
    size = ctypes.c_size_t(256)
    buffer = ctypes.create_string_buffer(size.value)
    if call(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return None
    raw = buffer.raw[: size.value]
    if name in _TEXTS:
        return raw.rstrip(b"\0").decode("utf-8", "replace")
    return str(int.from_bytes(raw, "little")) if len(raw) in {4, 8} else None


def _available_memory_bytes() -> int | None:
    import psutil

    return int(psutil.virtual_memory().available)


def _metal_working_set_bytes() -> int | None:
    """Ask Metal's default device for `recommendedMaxWorkingSetSize`, through the Objective-C runtime.

    CoreGraphics is loaded first because a command-line tool gets no default device without it.
    Source: Apple's documentation of `MTLCreateSystemDefaultDevice()` and `MTLDevice.recommendedMaxWorkingSetSize`.
    """
    try:
        ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")
        create = ctypes.CDLL(f"{_FRAMEWORKS}/Metal.framework/Metal").MTLCreateSystemDefaultDevice
        objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
        send_address = ctypes.cast(objc.objc_msgSend, ctypes.c_void_p).value
        selector = objc.sel_registerName
    except (OSError, AttributeError):
        return None
    create.restype = ctypes.c_void_p
    create.argtypes = ()
    selector.restype = ctypes.c_void_p
    selector.argtypes = (ctypes.c_char_p,)
    if not (device := create()) or not send_address:
        return None
    # objc_msgSend must be called through the prototype of the method that it ends in.
    ask = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)(send_address)
    release = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(send_address)
    size = ask(device, selector(b"recommendedMaxWorkingSetSize"))
    release(device, selector(b"release"))
    return int(size) or None


VALUES: Mapping[str, Callable[[], object | None]] = {
    "load_average": load_average,
    "psutil.cpu_times": psutil_api.cpu_times,
    "psutil.on_battery": psutil_api.on_battery,
    "macos.available_memory_bytes": _available_memory_bytes,
    "metal.recommended_max_working_set_size": _metal_working_set_bytes,
}
"""What only an API tells, by the names of the recorded-machine format."""
