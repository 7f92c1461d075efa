"""What `lf doctor` says of a device, on recorded machines."""

from __future__ import annotations

import pytest

from localfirst.runtimes.find import find_runtimes
from localfirst.services.check import State
from localfirst.services.doctor import judge_device
from localfirst.services.machines import find_machine
from localfirst.services.sight import Sight

READY = ("llama-cuda", "llama-vulkan", "llama-metal", "llama-cpu")

SAYINGS: dict[str, tuple[str, int, tuple[str, ...], dict[str, str], State, str]] = {
    "an engine computes on it": ("rtx-4090-desktop", 0, READY, {}, "ok", "llama-cuda and llama-vulkan can compute"),
    "one of two sees it": (
        "rtx-4090-desktop",
        0,
        READY,
        {"llama-cuda": "old driver"},
        "ok",
        "llama-vulkan can compute",
    ),
    "none sees it": (
        "rtx-4090-desktop",
        0,
        READY,
        {"llama-cuda": "old driver", "llama-vulkan": "no loader"},
        "warning",
        "no installed engine sees it",
    ),
    "its engine is to be installed": ("rtx-4090-desktop", 0, (), {}, "note", "llama-cuda would compute on it"),
    "a Mac": ("macbook-air-m2-8gb", 0, READY, {}, "ok", "llama-metal can compute on it"),
    "an NPU": ("lunar-lake-32gb", 1, READY, {}, "note", "openvino-npu would compute on it"),
    "an NPU of Qualcomm": ("copilot-pc-x-elite-16gb", 1, READY, {}, "note", "onnx-qnn would compute on it"),
    "an NPU without an engine": (
        "strix-halo-128gb",
        1,
        READY,
        {},
        "note",
        "no runtime of this release computes on it",
    ),
    "an NPU that cannot be used": (
        "macbook-air-m2-8gb",
        1,
        READY,
        {},
        "note",
        "Apple Neural Engine cannot be used: reachable through Core ML only",
    ),
}


@pytest.mark.parametrize(("profile", "index", "ready", "blind", "state", "summary"), SAYINGS.values(), ids=SAYINGS)
def test_a_device_is_told_with_what_computes_on_it(
    profile: str, index: int, ready: tuple[str, ...], blind: dict[str, str], state: State, summary: str
) -> None:
    machine = find_machine(profile)
    runtimes = [
        one if one.state == "unavailable" else one._replace(state="external" if one.name in ready else "installable")
        for one in find_runtimes(machine.platform, machine.cpu.arch)
    ]
    sights = {name: Sight((), reason) for name, reason in blind.items()}
    check = judge_device(machine.devices[index], machine, runtimes, sights)
    assert (check.name, check.state) == ("Device", state)
    assert summary in check.summary
    assert check.summary.startswith(machine.devices[index].name)
    assert all(any(reason in line for line in check.evidence) for reason in blind.values()) or state == "ok"
    assert bool(check.hint) == ("would" in summary)


def test_a_device_that_is_too_old_says_for_what() -> None:
    machine = find_machine("rtx-4090-desktop")
    old = machine.devices[0]._replace(driver="470.1", compute_capability="3.5")
    runtimes = [one for one in find_runtimes("linux", "x86_64") if one.name == "llama-cuda"]
    check = judge_device(old, machine._replace(devices=(old,)), runtimes, {})
    assert (check.state, "needs compute capability 5 or newer" in check.summary) == ("note", True)


def test_a_gpu_that_cannot_be_used_is_a_warning_with_the_reason() -> None:
    machine = find_machine("rtx-4090-desktop")
    broken = machine.devices[0]._replace(usable=False, reason="nvidia-smi did not answer in time")
    check = judge_device(broken, machine, find_runtimes("linux", "x86_64"), {})
    assert (check.state, check.summary) == (
        "warning",
        "NVIDIA GeForce RTX 4090 cannot be used: nvidia-smi did not answer in time",
    )


def test_an_engine_that_sees_one_of_two_devices_computes_on_that_one_only() -> None:
    machine = find_machine("rtx-4090-desktop")
    first = machine.devices[0]
    second = first._replace(name="NVIDIA GeForce RTX 3060")
    machine = machine._replace(devices=(first, second))
    runtimes = [
        one._replace(state="external" if one.name == "llama-cuda" else "unavailable")
        for one in find_runtimes(machine.platform, machine.cpu.arch)
    ]
    sights = {"llama-cuda": Sight((first.name,))}
    seen, unseen = (judge_device(device, machine, runtimes, sights) for device in machine.devices)
    assert (seen.state, unseen.state) == ("ok", "warning")
    assert unseen.evidence[-1] == f"llama-cuda: its engine sees {first.name}, and not this one"
