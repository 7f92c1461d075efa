"""NVIDIA GPUs, as `nvidia-smi` reports them; without it, what the kernel still tells of them.

`nvidia-smi` takes 50-500 ms, and seconds without persistence mode, so it is started only where there is a sign of a
device. Whether an engine's build supports a card's compute capability is not decided here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localfirst.hwprobe.text import clean, parse_int, quote
from localfirst.types import Device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localfirst.hwprobe.ask import Warn
    from localfirst.hwprobe.drm import Card
    from localfirst.hwprobe.host import Completed, Host
    from localfirst.types import Memory

PCI_VENDOR = "10de"
QUERIES = (
    "--query-gpu=index,name,memory.total,memory.free,compute_cap,driver_version",
    "--query-gpu=index,name,memory.total,memory.free,driver_version",
)
"""The second is for drivers that do not know `compute_cap` yet. Source: `nvidia-smi --help-query-gpu`."""
_FORMAT = "--format=csv,noheader,nounits"
_COMMANDS = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")
"""The second is where WSL puts it, which may be off PATH. Source: NVIDIA's "CUDA on WSL User Guide"."""
_NODES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")
"""`/dev/dxg` is WSL's only graphics node, whoever made the card."""
_PROC = "/proc/driver/nvidia/gpus"
_MODEL = re.compile(r"^Model:\s*(.+)$", re.MULTILINE)
_SHARED = frozenset({"[N/A]", "N/A", "[Not Supported]"})
"""Said of memory by chips without their own: GB10, Jetson."""


def read_nvidia(
    host: Host, memory: Memory, cards: Sequence[Card], registry_names: Sequence[str], warn: Warn
) -> tuple[Device, ...]:
    """Every NVIDIA GPU; those that the driver does not answer for are not usable, with the reason."""
    silent = [card for card in cards if card.vendor_id == PCI_VENDOR]
    folders = host.glob(f"{_PROC}/*/information")
    signs = any(map(host.exists, _NODES)) or any(map(host.has_recorded, _COMMANDS))
    answer = _run_smi(host) if signs or silent or folders or registry_names else None
    if answer and answer.returncode == 0:
        return _parse_lines(answer.stdout, memory, warn)
    reason = _find_fault(answer)
    if answer:
        warn(reason)
    names = _read_proc_names(host, folders) or [f"NVIDIA GPU [{card.pci_id}]" for card in silent] or registry_names
    return tuple(Device("gpu", "nvidia", name, usable=False, reason=reason) for name in names)


def parse_gpu(line: str, memory: Memory) -> Device:
    """One line of `nvidia-smi`, with or without the compute capability; sizes are MiB.

    Two such lines: `0, NVIDIA GeForce RTX 3090, 24576, 24000, 8.6, 550.54` and `0, NVIDIA GB10, [N/A], [N/A], 12.1,
    580.95.05`, whose memory is the machine's own.

    Raises:
        ValueError: The line has another number of columns, or a size is no number.
    """
    columns = [clean(column) for column in line.split(",")]
    if len(columns) not in {5, 6} or not columns[1]:
        raise ValueError(f"not a line of nvidia-smi: {quote(line)}")
    _, name, total, free, *capability, driver = columns
    unified = total in _SHARED
    return Device(
        kind="igpu" if unified else "gpu",
        vendor="nvidia",
        name=name,
        memory_total_bytes=memory.total_bytes if unified else parse_int(total) << 20,
        memory_free_bytes=memory.available_bytes if unified else _parse_free(free),
        unified=unified,
        driver=driver or None,
        compute_capability=capability[0] if capability and re.fullmatch(r"\d+\.\d+", capability[0]) else None,
    )


def _parse_lines(text: str, memory: Memory, warn: Warn) -> tuple[Device, ...]:
    devices = []
    for line in filter(str.strip, text.splitlines()):
        try:
            devices.append(parse_gpu(line, memory))
        except ValueError as error:
            warn(f"nvidia-smi: {error}")
    return tuple(devices)


def _parse_free(text: str) -> int | None:
    """MiB to bytes; `None` for `[Insufficient Permissions]` and the like."""
    return parse_int(text) << 20 if text.isdecimal() else None


def _run_smi(host: Host) -> Completed | None:
    for command in _COMMANDS:
        answer = host.run((command, QUERIES[0], _FORMAT))
        if answer and answer.returncode and "compute_cap" in answer.stdout + answer.stderr:
            answer = host.run((command, QUERIES[1], _FORMAT))
        if answer:
            return answer
    return None


def _find_fault(answer: Completed | None) -> str:
    if answer is None:
        return "nvidia-smi is not there: NVIDIA's driver is not installed, or not visible here"
    if answer.returncode is None:
        return "nvidia-smi did not answer in time"
    said = clean(answer.stdout) or clean(answer.stderr)
    return f"nvidia-smi failed with status {answer.returncode}" + (f": {said}" if said else "")


def _read_proc_names(host: Host, folders: Sequence[str]) -> list[str]:
    """Names from the kernel module, which containers see even when they were given no GPU."""
    matches = [_MODEL.search(host.read(path) or "") for path in folders]
    return [clean(match[1]) if match else "NVIDIA GPU" for match in matches]
