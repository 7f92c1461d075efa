from __future__ import annotations

import pytest

from localfirst.backends.base import LoadOptions
from localfirst.backends.llama_cpp.api import CPU, GPU, INTEGRATED_GPU, EngineDevice
from localfirst.backends.llama_cpp.engine import count_gpu_layers
from localfirst.backends.llama_cpp.llama_cpp_python import _find_device
from localfirst.errors import DeviceError

PROCESSOR = EngineDevice("CPU", "AMD Ryzen 9", CPU)
CARD = EngineDevice("CUDA0", "NVIDIA GeForce RTX 4090", GPU)
METAL = EngineDevice("MTL0", "Apple M2", GPU)
RADEON = EngineDevice("Vulkan0", "AMD Radeon 780M", INTEGRATED_GPU)


@pytest.mark.parametrize(
    ("devices", "placement", "expected"),
    [
        ((CARD, PROCESSOR), "cpu", PROCESSOR),
        ((CARD, PROCESSOR), "gpu", CARD),
        ((METAL, PROCESSOR), "igpu", METAL),
        ((RADEON, PROCESSOR), "igpu", RADEON),
    ],
    ids=["the processor beside a card", "the card", "Apple's, a plain GPU to ggml", "an integrated one"],
)
def test_a_placement_means_a_device_of_its_kind(devices, placement, expected) -> None:
    assert _find_device(devices, placement) == expected


@pytest.mark.parametrize("placement", ["gpu", "npu"])
def test_a_device_that_the_build_lacks_is_refused_with_what_it_has(placement) -> None:
    with pytest.raises(DeviceError) as caught:
        _find_device((PROCESSOR,), placement)
    assert caught.value.detail == "CPU: AMD Ryzen 9"


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        (LoadOptions(None, 1), 0),
        (LoadOptions(None, 1, placement="gpu"), -1),
        (LoadOptions(None, 1, placement="gpu", device_layers=12), 12),
    ],
    ids=["none on the processor", "all", "as the plan says"],
)
def test_layers_go_to_the_device_as_planned(options: LoadOptions, layers: int) -> None:
    assert count_gpu_layers(options) == layers
