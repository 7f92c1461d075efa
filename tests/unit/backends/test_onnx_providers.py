"""Which execution provider computes, and the way of a plug-in, by a real one where its package is there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.fixtures.scripted import make_onnx, render

from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles, Piece
from localfirst.backends.onnx import providers
from localfirst.backends.onnx.adapter import OnnxBackend, OnnxModel
from localfirst.backends.onnx.folder import read_folder
from localfirst.catalog.rules import DEVICE_WORDS
from localfirst.conversation import Sampling
from localfirst.errors import DeviceError
from localfirst.runtimes.table import RUNTIMES

HERE = providers.Provider(
    "OpenVINO",
    "OpenVINOExecutionProvider",
    MappingProxyType({"cpu": {"device_type": "CPU"}, "npu": {"device_type": "CPU"}}),
    plugin="onnxruntime_ep_openvino",
)
"""The plug-in that computes on any machine: on its own CPU device, which is of no use to anyone but a test."""
needs_plugin = pytest.mark.skipif(find_spec(HERE.plugin or "") is None, reason=f"{HERE.plugin} is not installed")


def test_the_cpu_needs_no_provider() -> None:
    assert providers.find_provider("cpu") is None


@pytest.mark.parametrize("placement", ["gpu", "igpu", "npu"])
def test_what_nothing_here_computes_on_is_refused(placement, tmp_path: Path) -> None:
    present = [one for one in providers.PROVIDERS if one.plugin is None or find_spec(one.plugin) is None]
    with pytest.raises(DeviceError) as caught:
        providers.find_provider(placement, present)
    assert (caught.value.detail or "").startswith("it has ")
    assert providers.list_devices(present) == ()


def test_every_runtime_of_this_engine_for_a_device_has_a_provider_for_it() -> None:
    rows = [row for row in RUNTIMES if row.backend == "onnx" and row.placement != "cpu"]
    assert len(rows) == len(providers.PROVIDERS)
    for row, provider in zip(rows, providers.PROVIDERS, strict=True):
        (word,) = row.variant_devices
        assert word.startswith(provider.name.lower())
        assert DEVICE_WORDS[word].placement == row.placement
        assert row.placement in provider.options
        assert provider.plugin in {None, row.module}


@needs_plugin
def test_a_plug_in_sees_its_devices() -> None:
    (device, *_) = providers.list_devices([HERE])
    assert device


@needs_plugin
def test_a_plug_in_computes(tmp_path: Path) -> None:
    make_onnx(tmp_path / "model", "Computed by a plug-in.")
    assert providers.find_provider("npu", [HERE]) == HERE
    options = LoadOptions(context_tokens=None, threads=1, placement="npu")
    model = OnnxModel(tmp_path / "model", read_folder(tmp_path / "model"), options, HERE)
    try:
        chunks = list(model.generate(GenerateRequest(render("hi"), Sampling(temperature=0))))
        assert "".join(chunk.text for chunk in chunks if isinstance(chunk, Piece)) == "Computed by a plug-in."
        assert (model.info.device, model.info.placement) == ("OpenVINO", "npu")
    finally:
        model.close()


def test_the_cpu_is_used_whatever_the_folder_names(tmp_path: Path) -> None:
    make_onnx(tmp_path / "model", "On the CPU.")
    path = tmp_path / "model" / "genai_config.json"
    path.write_text(path.read_text().replace('"provider_options": []', '"provider_options": [{"cuda": {}}]'))
    assert '"cuda"' in path.read_text()
    model = OnnxBackend().load(ModelFiles(str(path.parent)), LoadOptions(context_tokens=None, threads=1))
    assert model.info.device == "CPU"
    model.close()
