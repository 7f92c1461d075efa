"""Squared ReLU in llama.cpp's graph for architecture `bitnet`, which computes SiLU there.

BitNet b1.58 2B-4T was trained with `relu(gate)^2 * up` (`hidden_act: relu2` in its `config.json`); llama.cpp has
`silu(gate) * up` in `src/models/bitnet.cpp`, and nothing in a file changes that. But llama.cpp shows every node of a
graph to `cb_eval` before it computes the first one, and the multiplications by each weight's scale are nodes of it:

    gate_s = gate * s_gate                       gate_s = gate * (s_gate * sqrt(s_up))
    up_s   = up * s_up              becomes      up_s   = up * gate_s
    out    = silu(gate_s) * up_s                 out    = relu(gate_s) * up_s

which is `s_up * relu(gate * s_gate)^2 * up`. Where that is not exactly what happens, in every layer and every graph,
nothing that was computed is used. An engine that computes squared ReLU by itself is left alone.

Sources: `struct ggml_tensor` and `enum ggml_glu_op` in `ggml/include/ggml.h`, `build_ffn` in `src/llama-graph.cpp`,
`ggml_backend_sched_compute_splits` in `ggml/src/ggml-backend.cpp`, all of ggml-org/llama.cpp.
"""

from __future__ import annotations

import ctypes
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.backends.llama_cpp import api
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

REGLU, SWIGLU = b"REGLU", b"SWIGLU"
REGLU_NUMBER = 0
"""`GGML_GLU_OP_REGLU`, in a gated node's first parameter."""
NATIVE, NATIVE_NAME = b"SQR", b"ffn_sqr(relu)"
"""What squared ReLU is where llama.cpp computes it by itself."""
GATE_NAME, UP_NAME = b"ffn_gate_s", b"ffn_up_s"


class Layout(NamedTuple):
    """Where `struct ggml_tensor` has what is changed, in bytes from its start."""

    parameters: int = 84
    sources: int = 152
    data: int = 248


LAYOUTS: Mapping[tuple[str, str], Layout] = {("0.3.36", "0.25.3"): Layout()}
"""By the versions of llama-cpp-python and of the ggml in it. In no other one is anything changed."""


class SquaredRelu:
    """Watches the graphs of one context, and changes them. Give `callback` to the context, and outlive it."""

    def __init__(self, layers: int) -> None:
        """For a model of so many layers.

        Raises:
            EngineError: this build of the engine cannot be asked for its version or its nodes.
        """
        self._layers = layers
        self._layout = LAYOUTS.get((api.find_version(), api.find_ggml_version()))
        base = api.open_library("ggml-base")
        self._name, self._operation = base.ggml_get_name, base.ggml_op_desc
        for function in (self._name, self._operation):
            function.argtypes, function.restype = (ctypes.c_void_p,), ctypes.c_char_p
        self._scales: dict[int, Any] = {}
        """The folded scale of each gate, by the address of the tensor that has it now: no engine frees that memory."""
        self.callback = api.load_library().ggml_backend_sched_eval_callback(self._see)
        self.begin()

    def begin(self) -> None:
        """A graph is about to be computed."""
        self.changed = self.native = 0
        self._multiplied: list[int] = []
        self._problem: str | None = None

    def check(self) -> None:
        """A graph was computed.

        Raises:
            EngineError: it was not what the model needs; its result must not be used.
        """
        if self._problem is None and (self.changed, self.native) in {(self._layers, 0), (0, self._layers)}:
            return
        found = f"{self.changed} of {self._layers} layers changed, {self.native} that needed no change"
        raise EngineError(
            "llama.cpp does not compute this model's activation, and could not be made to",
            detail=self._problem or found,
            hint="Install the version that lf is made for: `lf runtime install bitnet-cpu`",
        )

    def _see(self, node: int, _asked: bool, _data: object) -> bool:
        """Look at a node that will be computed; `False`: its result need not be shown.

        Python prints what a callback raises and goes on, so the problem is kept until `check`.
        """
        try:
            self._visit(node)
        except BaseException as error:  # noqa: BLE001 - nothing may be lost here, not even an interruption
            said = error.message if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
            self._problem = self._problem or said
        return False

    def _visit(self, node: int) -> None:
        operation = self._operation(node)
        if operation == b"MUL":
            self._multiplied.append(node)
        elif operation == SWIGLU:
            self._change(node)
        elif operation == REGLU:
            self._recognise(node)
        elif operation == NATIVE and self._name(node).startswith(NATIVE_NAME):
            self.native += 1

    def _change(self, node: int) -> None:
        if self._layout is None:
            raise EngineError(f"its graph is known in {_list_versions()}, and this is {_name_version()}")
        gate, up = self._find_sources(node, self._layout)
        self._fold(gate, up, self._layout)
        _pointer(up + self._layout.sources + ctypes.sizeof(ctypes.c_void_p)).value = gate
        ctypes.c_int32.from_address(node + self._layout.parameters).value = REGLU_NUMBER
        self.changed += 1

    def _recognise(self, node: int) -> None:
        """A graph that was changed before, and is computed again."""
        if self._layout is None:
            raise EngineError(f"a gated ReLU in {_name_version()}")
        gate, up = self._find_sources(node, self._layout)
        _, factor = self._read_sources(up, self._layout)
        if factor != gate:
            raise EngineError("a gated ReLU that was not made here")
        self.changed += 1

    def _find_sources(self, node: int, layout: Layout) -> tuple[int, int]:
        """The two nodes that a gated node takes, if they are those two multiplications, the gate's first."""
        gate, up = self._read_sources(node, layout)
        expected = (self._name(gate).startswith(GATE_NAME), self._name(up).startswith(UP_NAME))
        if expected != (True, True) or self._multiplied[-2:] != [gate, up]:
            raise EngineError(f"`{self._name(node).decode()}` is fed by other nodes than expected")
        return gate, up

    def _read_sources(self, node: int, layout: Layout) -> tuple[int, int]:
        first, second = (ctypes.c_void_p * 2).from_address(node + layout.sources)
        if not first or not second:
            raise EngineError(f"`{self._name(node).decode()}` has no two sources")
        return first, second

    def _fold(self, gate: int, up: int, layout: Layout) -> None:
        """Let the gate's scale be its own times the root of the other's, once for each model."""
        _, gate_scale = self._read_sources(gate, layout)
        _, up_scale = self._read_sources(up, layout)
        if gate_scale in self._scales:
            return
        mine, other = (
            ctypes.c_float.from_address(_pointer(one + layout.data).value or 0) for one in (gate_scale, up_scale)
        )
        folded = ctypes.c_float(mine.value * sqrt(other.value))
        self._scales[gate_scale] = folded
        _pointer(gate_scale + layout.data).value = ctypes.addressof(folded)


def _pointer(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p.from_address(address)


def _name_version() -> str:
    return f"llama-cpp-python {api.find_version()} with ggml {api.find_ggml_version()}"


def _list_versions() -> str:
    return ", ".join(f"llama-cpp-python {binding} with ggml {ggml}" for binding, ggml in LAYOUTS)
