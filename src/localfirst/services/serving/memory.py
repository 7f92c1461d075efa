"""Which models fit beside each other: the resolver's own figures, added up. Pure.

The machine says what is free now, less what others took; but it counts the weights of a loaded model as free where they
lie in the file cache. So what our models are known to need is kept here, and a plan is made as if none were loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localfirst.types import Device, Machine, Plan

MAIN = "main memory"


def find_pools(plan: Plan) -> tuple[str, ...]:
    """The memories that a plan takes from: the main one, a device's by its name, or both for a model that is split."""
    if plan.placement == "cpu" or plan.device_name is None:
        return (MAIN,)
    return (MAIN, plan.device_name) if plan.device_layers is not None else (plan.device_name,)


def find_taken(plans: Iterable[Plan], machine: Machine) -> dict[str, int]:
    """Bytes that loaded models need, by pool; those on devices that share the main memory count there."""
    shared = {device.name for device in machine.devices if device.unified}
    taken: dict[str, int] = {}
    for plan in plans:
        need = plan.need.total_bytes if plan.need else 0
        for pool in {MAIN if name in shared else name for name in find_pools(plan)}:
            taken[pool] = taken.get(pool, 0) + need
    return taken


def fits(plan: Plan, loaded: Sequence[Plan], machine: Machine) -> bool:
    """Whether a plan that was made as if nothing were loaded fits beside what is.

    Where its need or what is free is unknown, it is loaded as `lf run` would.
    """
    if plan.need is None or plan.free_bytes is None:
        return True
    beside = find_taken(loaded, machine)
    return all(
        beside.get(pool, 0) + taken <= plan.free_bytes
        for pool, taken in find_taken((plan,), machine).items()
        if pool in beside
    )


def shares_memory(plan: Plan, other: Plan, machine: Machine) -> bool:
    """Whether there would be more for one of two plans without the other."""
    return not find_taken((plan,), machine).keys().isdisjoint(find_taken((other,), machine))


def give_back(now: Machine, before: Machine, loaded: Sequence[Plan]) -> Machine:
    """The machine as if nothing were loaded: what is free now and what ours need, at most what was free `before`."""
    taken = find_taken(loaded, now)
    was = {device.name: device.memory_free_bytes for device in before.devices}
    return now._replace(
        memory=now.memory._replace(
            available_bytes=_add(now.memory.available_bytes, taken.get(MAIN, 0), before.memory.available_bytes)
        ),
        devices=tuple(_give_back(device, taken.get(device.name, 0), was.get(device.name)) for device in now.devices),
    )


def _give_back(device: Device, taken: int, before: int | None) -> Device:
    return device._replace(memory_free_bytes=_add(device.memory_free_bytes, taken, before))


def _add(free: int | None, taken: int, before: int | None) -> int | None:
    return None if free is None or before is None else min(free + taken, before)
