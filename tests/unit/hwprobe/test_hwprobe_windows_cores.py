"""Cores of hybrid processors on Windows, in bytes laid out as its headers say."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.hwprobe.host import ReplayHost
from localfirst.hwprobe.probe import probe
from localfirst.hwprobe.windows_cores import count_performance_cores


def core(efficiency_class: int, mask: int, *, groups: int = 1) -> bytes:
    """An entry of one core: relationship, size, flags, class, reserved, number of groups, then each group's mask."""
    head = struct.pack("<IIBB20xH", 0, 32 + 16 * groups, mask.bit_count() > 1, efficiency_class, groups)
    return head + struct.pack("<QH6x", mask, 0) * groups


# As an i5-12450H: four fast cores with two threads each, four slow ones.
HYBRID = b"".join([core(1, 0b11 << 2 * n) for n in range(4)] + [core(0, 1 << 8 + n) for n in range(4)])
CORES = {
    "hybrid": (HYBRID, None, 4),
    "all alike": (core(0, 0b11) + core(0, 0b1100), None, 2),
    "one fast core is left to the process": (HYBRID, 0b1111_0000_0011, 1),
    "only slow cores are": (HYBRID, 0b11_0000_0000, 2),
    "a mask of several groups says nothing": (HYBRID, 0, 4),
    "entries of several groups are longer": (core(0, 1, groups=3) + core(1, 2) + core(1, 4), None, 2),
    "nothing": (b"", None, None),
    "cut short": (HYBRID[:-1], 0b1000_0000_0000, None),
}


@pytest.mark.parametrize(("entries", "affinity", "count"), CORES.values(), ids=CORES)
def test_the_fastest_cores_are_counted(entries: bytes, affinity: int | None, count: int | None) -> None:
    assert count_performance_cores(entries, affinity) == count


@given(st.binary(max_size=400), st.none() | st.integers(0, 2**64 - 1))
def test_any_bytes_give_a_count_or_nothing(entries: bytes, affinity: int | None) -> None:
    count = count_performance_cores(entries, affinity)
    assert count is None or 1 <= count <= len(entries) // 48


@pytest.mark.parametrize(("performance", "usable"), [(6, 6), (None, 14), ("?", 14)], ids=repr)
def test_only_the_fast_cores_compute(performance: object, usable: int) -> None:
    values = {"windows.physical_cores": 14, "windows.performance_cores": performance}
    record = {"schema": "lf.machine-record/1", "platform": "win32", "machine": "AMD64", "values": values}
    cpu = probe(ReplayHost(record)).cpu
    assert (cpu.cores_physical, cpu.cores_usable) == (14, usable)
