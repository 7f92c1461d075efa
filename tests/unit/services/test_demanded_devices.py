"""Devices that are demanded of a machine before any model is."""

from __future__ import annotations

import pytest

from localfirst.errors import DeviceError
from localfirst.hwprobe.probe import probe
from localfirst.services.planning import require_device
from localfirst.types import Device, Machine


def make_machine(*devices: Device) -> Machine:
    return probe()._replace(devices=devices)


def make_npu(*, usable: bool) -> Device:
    return Device(kind="npu", vendor="Intel", name="AI Boost", usable=usable, reason=None if usable else "no driver")


@pytest.mark.parametrize("kind", [None, "auto", "cpu"])
def test_what_every_machine_has_is_not_refused(kind: str | None) -> None:
    require_device(make_machine(), kind)


def test_a_device_that_is_not_there_is_refused_and_one_that_cannot_be_used_says_why() -> None:
    with pytest.raises(DeviceError, match="This machine has no NPU"):
        require_device(make_machine(), "npu")
    with pytest.raises(DeviceError) as raised:
        require_device(make_machine(make_npu(usable=False)), "npu")
    assert raised.value.detail == "AI Boost cannot be used: no driver"
    require_device(make_machine(make_npu(usable=False), make_npu(usable=True)), "npu")
    with pytest.raises(DeviceError, match="no GPU"):
        require_device(make_machine(make_npu(usable=True)), "gpu")
