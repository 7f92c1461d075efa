"""What Windows tells through its libraries: the registry, kernel32 and psutil for cores. Imported on Windows alone.

No PowerShell: it takes one to three seconds, and its answers change shape with the number of objects.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # noqa: S101 - tells the type checker which system's library this is

import ctypes  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import winreg  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from localfirst.hwprobe import psutil_api  # noqa: E402
from localfirst.hwprobe.windows import DISPLAY_CLASS, NPU_CLASS  # noqa: E402
from localfirst.hwprobe.windows_cores import count_performance_cores  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CLASSES = r"SYSTEM\CurrentControlSet\Control\Class"
_PROCESSOR = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_FEATURES = {
    39: "avx",
    40: "avx2",
    41: "avx512f",
    43: "dotprod",
    46: "sve",
    47: "sve2",
    66: "i8mm",
    67: "fp16",
    68: "bf16",
    70: "sme",
}
"""`PF_*` numbers of `winnt.h`. Source: Microsoft's documentation of `IsProcessorFeaturePresent`."""
_PROCESSOR_CORE = 0
"""`RelationProcessorCore` of `winnt.h`."""
_PRESENT_OF_CLASS = 0x100 | 0x200
"""`CM_GETIDLIST_FILTER_PRESENT | CM_GETIDLIST_FILTER_CLASS` of `cfgmgr32.h`."""


class _MemoryStatus(ctypes.Structure):
    """`MEMORYSTATUSEX`. Source: Microsoft's documentation of `sysinfoapi.h`."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("memory_load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended_virtual", ctypes.c_uint64),
    )


def machine() -> str:
    """The processor architecture of this process (`AMD64` when emulated on Arm).

    Not `platform.machine()`: since Python 3.12 it asks WMI, which may take seconds.
    """
    return os.environ.get("PROCESSOR_ARCHITECTURE", "")


def registry(class_guid: str) -> dict[str, dict[str, object]]:
    """The values of a device class's numbered subkeys (`0000`, `0001`, ...), one per installed driver."""
    found: dict[str, dict[str, object]] = {}
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{_CLASSES}\{class_guid}") as folder:
            names = [winreg.EnumKey(folder, index) for index in range(winreg.QueryInfoKey(folder)[0])]
    except OSError:
        return found
    for name in filter(str.isdecimal, names):
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{_CLASSES}\{class_guid}\{name}") as key:
                values = [winreg.EnumValue(key, index) for index in range(winreg.QueryInfoKey(key)[1])]
        except OSError:  # one subkey, "Properties", is closed to users
            continue
        found[name] = {value_name: value for value_name, value, _ in values}
    return found


def sysctl(name: str) -> str | None:  # noqa: ARG001 - only asked on macOS
    """Nothing: Windows has no `sysctl`."""
    return None


def disk_free_bytes(path: str) -> int | None:
    """Bytes that this user may still write to the disk of an existing path."""
    try:
        return shutil.disk_usage(path).free
    except (OSError, ValueError):
        return None


def _memory_status() -> _MemoryStatus | None:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return status if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _total_memory_bytes() -> int | None:
    return int(status.total_physical) if (status := _memory_status()) else None


def _available_memory_bytes() -> int | None:
    return int(status.available_physical) if (status := _memory_status()) else None


def _cpu_features() -> list[str]:
    present = ctypes.windll.kernel32.IsProcessorFeaturePresent
    return [feature for number, feature in _FEATURES.items() if present(number)]


def _cpu_name() -> str | None:
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _PROCESSOR) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0])
    except OSError:
        return None


def _performance_cores() -> int | None:
    """Source: Microsoft's documentation of `GetLogicalProcessorInformationEx` and `GetProcessAffinityMask`."""
    kernel = ctypes.WinDLL("kernel32")
    ask = kernel.GetLogicalProcessorInformationEx
    size = ctypes.c_uint32()
    ask(_PROCESSOR_CORE, None, ctypes.byref(size))  # fails, and tells the size
    buffer = ctypes.create_string_buffer(size.value)
    if not size.value or not ask(_PROCESSOR_CORE, buffer, ctypes.byref(size)):
        return None
    mine, all_of_group = ctypes.c_size_t(), ctypes.c_size_t()
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    kernel.GetProcessAffinityMask(process, ctypes.byref(mine), ctypes.byref(all_of_group))
    one_group = kernel.GetActiveProcessorGroupCount() == 1
    return count_performance_cores(buffer.raw[: size.value], mine.value if one_group else None)


def _present_devices() -> dict[str, list[str]]:
    """Class -> ids of the devices in the machine now, without their last part, which tells one piece from another.

    Source: Microsoft's documentation of `CM_Get_Device_ID_ListW`.
    """
    library = ctypes.WinDLL("cfgmgr32")
    found = {}
    for guid in (DISPLAY_CLASS, NPU_CLASS):
        size = ctypes.c_uint32()
        if library.CM_Get_Device_ID_List_SizeW(ctypes.byref(size), guid, _PRESENT_OF_CLASS) == 0 and size.value:
            buffer = ctypes.create_unicode_buffer(size.value)
            if library.CM_Get_Device_ID_ListW(guid, buffer, size, _PRESENT_OF_CLASS) == 0:
                names = "".join(buffer[: size.value]).split("\0")
                found[guid] = [name.rpartition("\\")[0] for name in names if name]
    return found


def _physical_cores() -> int | None:
    import psutil

    return psutil.cpu_count(logical=False)


VALUES: Mapping[str, Callable[[], object | None]] = {
    "psutil.cpu_times": psutil_api.cpu_times,
    "psutil.on_battery": psutil_api.on_battery,
    "windows.available_memory_bytes": _available_memory_bytes,
    "windows.cpu_features": _cpu_features,
    "windows.cpu_name": _cpu_name,
    "windows.logical_cores": os.cpu_count,
    "windows.performance_cores": _performance_cores,
    "windows.physical_cores": _physical_cores,
    "windows.present_devices": _present_devices,
    "windows.total_memory_bytes": _total_memory_bytes,
}
"""What only an API tells, by the names of the recorded-machine format."""
