"""Which engines of this machine are tried."""

from __future__ import annotations

import pytest

from localfirst.hwprobe.probe import probe
from localfirst.services import engines
from localfirst.types import Device


def test_what_a_package_brings_for_devices_that_are_not_here_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino_genai", reason="it brings runtimes for Intel's GPUs and NPUs besides the CPU's")
    bare = probe()._replace(devices=())
    monkeypatch.setattr(engines, "probe", lambda: bare)
    tried = {one.name for one in engines.find_runtimes() if engines.is_testable(one)}
    assert {"openvino-cpu", "openvino-gpu", "openvino-npu"} & tried == {"openvino-cpu"}
    lacks = {one.name: one.reason for one in engines.list_runtimes()}
    assert lacks["openvino-cpu"] is None
    assert lacks["openvino-npu"] == "openvino-npu needs a device: this machine has no Intel NPU"
    there = bare._replace(devices=(Device("npu", "intel", "Intel AI Boost"),))
    monkeypatch.setattr(engines, "probe", lambda: there)
    tried = {one.name for one in engines.find_runtimes() if engines.is_testable(one)}
    assert {"openvino-gpu", "openvino-npu"} & tried == {"openvino-npu"}
