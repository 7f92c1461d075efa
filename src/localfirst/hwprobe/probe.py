"""Everything about a machine in one value. Never raises, never hangs; unknown is `None`, trouble is a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from localfirst import paths
from localfirst.hwprobe.amd import read_amd
from localfirst.hwprobe.apple import read_apple
from localfirst.hwprobe.bandwidth import find_bandwidth
from localfirst.hwprobe.container import read_container, read_wsl
from localfirst.hwprobe.cpu import read_cpu
from localfirst.hwprobe.drm import read_cards
from localfirst.hwprobe.host import Host
from localfirst.hwprobe.intel import read_intel
from localfirst.hwprobe.memory import read_memory
from localfirst.hwprobe.npu import read_npus
from localfirst.hwprobe.nvidia import read_nvidia
from localfirst.hwprobe.text import clean
from localfirst.hwprobe.windows import read_nvidia_names, read_windows
from localfirst.types import Cpu, Device, Machine, Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.hwprobe.ask import Warn

T = TypeVar("T")
_ORDER = {"gpu": 0, "igpu": 1, "npu": 2}
_UNFORESEEN = "could not be read"
"""In a warning, the mark of an exception that no source expected."""


def probe(host: Host | None = None) -> Machine:
    """The facts about a machine: this one, or the one that `host` recorded.

    Devices come discrete GPUs first, then integrated ones, then NPUs. `Device.usable` says that the system exposes the
    device properly, not that an engine here can use it.
    """
    host = host or Host()
    warnings: list[str] = []
    warn = warnings.append
    unknown_cpu = Cpu(None, clean(host.machine), None, None, None)
    cpu = _guard("processor", lambda: read_cpu(host, warn), unknown_cpu, warn)
    memory = _guard("memory", lambda: read_memory(host, warn), Memory(None, None, None), warn)
    linux = host.platform == "linux"
    wsl = linux and _guard("kernel release", lambda: read_wsl(host), default=False, warn=warn)
    devices = _read_devices(host, cpu, memory, warn, wsl=wsl)
    return Machine(
        platform=host.platform,
        cpu=cpu,
        memory=memory,
        devices=tuple(sorted(map(_add_bandwidth, devices), key=lambda device: _ORDER[device.kind])),
        container=_guard("container", lambda: read_container(host), None, warn) if linux else None,
        wsl=wsl,
        disk_free_bytes=_guard("disk", lambda: host.disk_free_bytes(str(paths.models_dir())), None, warn),
        warnings=tuple(warnings),
    )


def _read_devices(host: Host, cpu: Cpu, memory: Memory, warn: Warn, *, wsl: bool) -> list[Device]:
    cards = _guard_all("graphics cards", lambda: read_cards(host, warn), warn)
    names = _guard_all("display registry", lambda: read_nvidia_names(host), warn)
    sources: dict[str, Callable[[], tuple[Device, ...]]] = {
        "NVIDIA": lambda: read_nvidia(host, memory, cards, names, warn),
        "AMD": lambda: read_amd(host, memory, cards, warn),
        "Intel": lambda: read_intel(host, memory, cards, warn),
        "Apple": lambda: read_apple(host, cpu, memory, warn),
        "Windows devices": lambda: read_windows(host, memory, warn),
        "NPUs": lambda: read_npus(host, wsl=wsl),
    }
    return [device for source, read in sources.items() for device in _guard_all(source, read, warn)]


def _guard(source: str, read: Callable[[], T], default: T, warn: Warn) -> T:
    """The border of "never raises": a source that breaks costs a warning and its own facts, not the command."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - see above; the property tests assert that nothing gets here
        warn(f"{source}: {_UNFORESEEN} ({type(error).__name__}: {clean(str(error))})")
        return default


def _guard_all(source: str, read: Callable[[], tuple[T, ...]], warn: Warn) -> tuple[T, ...]:
    return _guard(source, read, (), warn)


def _add_bandwidth(device: Device) -> Device:
    if device.bandwidth_bytes_per_s is not None:
        return device
    return device._replace(bandwidth_bytes_per_s=find_bandwidth(device.name, device.memory_total_bytes))
