"""Runs repacked BitNet files in llama.cpp, by llama-cpp-python, with the activation that they were trained with.

Experimental: held to a numeric reference on files of random weights, never run on the vendor's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.backends.llama_cpp.engine import LlamaEngine
from localfirst.backends.llama_cpp.llama_cpp_python import LlamaCppPythonBackend
from localfirst.backends.llama_cpp.squared_relu import SquaredRelu
from localfirst.errors import DeviceError, ModelFileError

if TYPE_CHECKING:
    from pathlib import Path

    from localfirst.backends.base import LoadOptions
    from localfirst.gguf import GgufHeader

ARCHITECTURE = "bitnet"
ACTIVATION = "relu2"


class BitnetBackend(LlamaCppPythonBackend):
    """Loads a BitNet file that lf has repacked, on the CPU."""

    name = "bitnet"

    def _make_engine(self, path: Path, header: GgufHeader, context_tokens: int, options: LoadOptions) -> LlamaEngine:
        """The engine with the model in it, once it has shown that it computes the right activation.

        Raises:
            ModelFileError: the file is no repacked BitNet.
            DeviceError: it is to be computed elsewhere than on the CPU.
            EngineError: this version of the engine cannot be made to compute the activation.
        """
        layers = header.layers
        activation = header.metadata.get(f"{ARCHITECTURE}.hidden_activation")
        if header.architecture != ARCHITECTURE or activation != ACTIVATION or layers is None:
            raise ModelFileError(
                f"{path.name} is no BitNet file that was repacked for llama.cpp",
                detail=f"architecture {header.architecture}, activation {activation}",
            )
        if options.placement != "cpu":
            raise DeviceError("BitNet is computed on the CPU alone", detail=f"asked for: {options.placement}")
        return BitnetEngine(str(path), context_tokens, options, layers)


class BitnetEngine(LlamaEngine):
    """A model whose every computed graph is changed, and checked before anything of it is used."""

    def __init__(self, path: str, context_tokens: int, options: LoadOptions, layers: int) -> None:
        """Load as `LlamaEngine` does, then compute one token to see the graph.

        Raises:
            NoFitError, EngineError: as there.
            EngineError: the graph is another than expected.
        """
        self._activation = SquaredRelu(layers)
        super().__init__(path, context_tokens, options)
        try:
            self.read([0], bool)
            self.forget()
        except BaseException:
            self.close()
            raise

    def _decode(self, context: Any, batch: Any) -> bool:
        """Compute a batch, as `LlamaEngine` does.

        Raises:
            EngineError: it failed, or the graph was another than expected.
        """
        self._activation.begin()
        done = super()._decode(context, batch)
        if done:
            self._activation.check()
        return done

    def _make_context_params(self, context_tokens: int, options: LoadOptions) -> Any:
        params = super()._make_context_params(context_tokens, options)
        params.cb_eval = self._activation.callback
        return params
