"""Which adapter serves which backend name: a table, so that nothing is imported to list it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from localfirst.errors import UnknownNameError

if TYPE_CHECKING:
    from localfirst.backends.base import Backend

BACKENDS: dict[str, str] = {
    "xllamacpp": "localfirst.backends.llama_cpp.xllamacpp:XllamacppBackend",
    "onnx": "localfirst.backends.onnx.adapter:OnnxBackend",
    "mlx": "localfirst.backends.mlx.adapter:MlxBackend",
    "openvino": "localfirst.backends.openvino.adapter:OpenVinoBackend",
    "litert": "localfirst.backends.litert.adapter:LitertBackend",
    "llamafile": "localfirst.backends.external.adapter:LlamafileBackend",
    "llama-server": "localfirst.backends.external.adapter:LlamaServerBackend",
    "vllm": "localfirst.backends.external.adapter:VllmBackend",
    "sglang": "localfirst.backends.external.adapter:SglangBackend",
    "tensorrt-llm": "localfirst.backends.external.adapter:TensorrtBackend",
    "remote": "localfirst.backends.external.remote:RemoteBackend",
    "llama-cpp-python": "localfirst.backends.llama_cpp.llama_cpp_python:LlamaCppPythonBackend",
    "bitnet": "localfirst.backends.llama_cpp.bitnet:BitnetBackend",
}
"""Backend name -> `module:class`."""


def make_backend(name: str, program: str | None = None) -> Backend:
    """Import and make the adapter of a backend name; `program` is what it drives, where its engine is a program.

    Raises:
        UnknownNameError: there is no such backend.
    """
    if name not in BACKENDS:
        raise UnknownNameError(f"No backend named `{name}`", detail=f"known: {', '.join(BACKENDS)}")
    module_name, _, class_name = BACKENDS[name].partition(":")
    make = getattr(import_module(module_name), class_name)
    return cast("Backend", make(program) if program else make())
