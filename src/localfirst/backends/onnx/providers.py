"""What ONNX Runtime computes with besides the CPU: one row for each execution provider that this adapter drives.

Which of them an environment has tells its packages: CUDA is part of a build of the engine, the others are plug-ins,
packages with a library of their maker's that is registered before a model is loaded. What of it was run: the way of a
plug-in, by OpenVINO's on a CPU, which is in no row, for OpenVINO has an engine and a format of its own here.

Sources: ONNX Runtime, "Plugin Execution Provider Libraries" and "CUDA Execution Provider" (`preload_dlls`);
microsoft/onnxruntime-genai, `src/config.cpp` (names of providers); the pages of onnxruntime-qnn and
onnxruntime-ep-webgpu in the Python package index.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.types import Placement

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class Provider(NamedTuple):
    """An execution provider."""

    name: str
    """As ONNX Runtime GenAI takes it."""
    execution: str
    """As ONNX Runtime calls it among its devices."""
    options: Mapping[Placement, Mapping[str, str]]
    """Where it computes, and what it is told there."""
    plugin: str | None = None
    """The module of its package; `None`: the engine's build has it."""


PROVIDERS: tuple[Provider, ...] = (
    Provider("cuda", "CUDAExecutionProvider", MappingProxyType({"gpu": NO_OPTIONS})),
    Provider(
        "WebGPU",
        "WebGpuExecutionProvider",
        MappingProxyType({"gpu": NO_OPTIONS, "igpu": NO_OPTIONS}),
        plugin="onnxruntime_ep_webgpu",
    ),
    Provider(
        "QNN",
        "QNNExecutionProvider",
        MappingProxyType({"npu": MappingProxyType({"backend_type": "htp"})}),
        plugin="onnxruntime_qnn",
    ),
)
_HARDWARE: Mapping[Placement, str] = MappingProxyType({"cpu": "CPU", "gpu": "GPU", "igpu": "GPU", "npu": "NPU"})
"""What ONNX Runtime calls the kinds of devices."""


def find_provider(placement: Placement, providers: Sequence[Provider] = PROVIDERS) -> Provider | None:
    """What computes at a placement in this environment; the engine itself, `None`, on the CPU.

    Raises:
        DeviceError: nothing in this environment does.
    """
    if placement == "cpu":
        return None
    present = [one for one in providers if _is_present(one)]
    for one in present:
        if placement in one.options:
            return one
    has = ", ".join(one.name for one in present) or "no execution provider besides the CPU's"
    raise DeviceError(
        f"This environment of ONNX Runtime GenAI computes nothing on a `{placement}`", detail=f"it has {has}"
    )


def list_devices(providers: Sequence[Provider] = PROVIDERS) -> tuple[str, ...]:
    """The devices that the providers of this environment see."""
    present = [one for one in providers if _is_present(one)]
    return tuple(name for one in present for name in _list_devices(one)) if present else ()


def apply(provider: Provider | None, placement: Placement, genai: Any, config: Any) -> None:
    """Let a model's configuration be computed by a provider, whatever its own says."""
    config.clear_providers()
    if provider is None:
        return
    if provider.plugin is None:
        import onnxruntime

        onnxruntime.preload_dlls()
    else:
        plugin = import_module(provider.plugin)
        genai.register_execution_provider_library(provider.execution, plugin.get_library_path())
    config.append_provider(provider.name)
    for key, value in provider.options[placement].items():
        config.set_provider_option(provider.name, key, value)


def _is_present(provider: Provider) -> bool:
    if provider.plugin is not None:
        return find_spec(provider.plugin) is not None
    import onnxruntime

    return provider.execution in onnxruntime.get_available_providers()


def _list_devices(provider: Provider) -> Iterator[str]:
    import onnxruntime

    if provider.plugin is None:
        onnxruntime.preload_dlls()
    else:
        plugin = import_module(provider.plugin)
        onnxruntime.register_execution_provider_library(provider.execution, plugin.get_library_path())
    kinds = {_HARDWARE[placement] for placement in provider.options}
    for one in onnxruntime.get_ep_devices():
        if one.ep_name == provider.execution and one.device.type.name in kinds:
            told = {**one.device.metadata, **one.ep_metadata}
            yield (
                told.get("FULL_DEVICE_NAME") or told.get("Description") or f"{one.device.vendor} {one.device.type.name}"
            )
