"""Which models fit beside each other, by the resolver's figures."""

from __future__ import annotations

from localfirst.services.remote import make_plan
from localfirst.services.serving.memory import MAIN, find_taken, fits, give_back, shares_memory
from localfirst.types import Cpu, Device, Machine, Memory, Need, Plan

GB = 10**9
GPU = Device("gpu", "NVIDIA", "RTX", memory_total_bytes=24 * GB, memory_free_bytes=20 * GB)
SHARED = Device("igpu", "Apple", "M4", memory_total_bytes=16 * GB, memory_free_bytes=10 * GB, unified=True)


def machine(free_gb: float, *devices: Device) -> Machine:
    return Machine("linux", Cpu("x", "x86_64", 4, 8, 4), Memory(32 * GB, int(free_gb * GB), None), devices)


def plan(need_gb: float | None, free_gb: float | None, device: Device | None = None, **more: object) -> Plan:
    base = make_plan("m", "http://localhost/v1", None)
    need = None if need_gb is None else Need(int(need_gb * GB), 0, 0, 0)
    free = None if free_gb is None else int(free_gb * GB)
    placed = {"placement": device.kind, "device_name": device.name} if device else {"device_name": None}
    return base._replace(need=need, free_bytes=free, **placed, **more)


def test_what_is_loaded_is_counted_where_it_lies() -> None:
    here = machine(20, GPU, SHARED)
    loaded = (plan(2, 20), plan(3, 20, GPU), plan(4, 10, SHARED), plan(5, 40, GPU, device_layers=3), plan(None, 20))
    assert find_taken(loaded, here) == {MAIN: (2 + 4 + 5) * GB, "RTX": (3 + 5) * GB}


def test_a_plan_fits_beside_others_up_to_the_last_byte() -> None:
    here = machine(10)
    assert fits(plan(6, 10), (plan(4, 10),), here)
    assert not fits(plan(6, 10)._replace(free_bytes=10 * GB - 1), (plan(4, 10),), here)
    assert fits(plan(12, 10), (), here)  # refused by the resolver, where it is: nothing to unload would help


def test_different_memories_do_not_compete() -> None:
    here = machine(10, GPU)
    assert fits(plan(19, 20, GPU), (plan(9, 10),), here)
    assert not shares_memory(plan(19, 20, GPU), plan(9, 10), here)
    assert not fits(plan(19, 30, GPU, device_layers=8), (plan(12, 10),), here)
    assert shares_memory(plan(19, 30, GPU, device_layers=8), plan(12, 10), here)
    assert not fits(plan(8, 10, SHARED), (plan(3, 10),), machine(10, SHARED))


def test_the_unknown_is_loaded_as_it_would_be_alone() -> None:
    here = machine(10)
    assert fits(plan(None, 10), (plan(9, 10),), here)
    assert fits(plan(9, None), (plan(9, 10),), here)


def test_ours_is_given_back_but_never_more_than_was_there() -> None:
    before = machine(10, GPU)
    loaded = (plan(4, 10), plan(3, 20, GPU))
    taken = machine(6.5, GPU._replace(memory_free_bytes=17 * GB))  # of 4 GB, only half a GB shows as taken
    seen = give_back(taken, before, loaded)
    assert seen.memory.available_bytes == 10 * GB
    assert seen.devices[0].memory_free_bytes == 20 * GB
    others = give_back(machine(2, GPU), before, loaded)  # somebody else took 4 GB meanwhile
    assert others.memory.available_bytes == 6 * GB
    assert give_back(before, before, ()) == before
