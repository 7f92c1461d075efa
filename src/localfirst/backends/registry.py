"""Which adapter serves which backend name: a table, so that nothing is imported to list it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from localfirst.errors import UnknownNameError

if TYPE_CHECKING:
    from localfirst.backends.base import Backend

BACKENDS: dict[str, str] = {
    "xllamacpp": "localfirst.backends.llama_cpp:XllamacppBackend",
    "onnx": "localfirst.backends.onnx_genai:OnnxBackend",
    "mlx": "localfirst.backends.mlx_lm:MlxBackend",
    "openvino": "localfirst.backends.openvino_genai:OpenVinoBackend",
    "litert": "localfirst.backends.litert_lm:LitertBackend",
    "llamafile": "localfirst.backends.external:LlamafileBackend",
    "llama-server": "localfirst.backends.external:LlamaServerBackend",
    "vllm": "localfirst.backends.external:VllmBackend",
    "sglang": "localfirst.backends.external:SglangBackend",
    "tensorrt-llm": "localfirst.backends.external:TensorrtBackend",
    "remote": "localfirst.backends.external_remote:RemoteBackend",
    "llama-cpp-python": "localfirst.backends.llama_cpp_python:LlamaCppPythonBackend",
    "bitnet": "localfirst.backends.bitnet:BitnetBackend",
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
