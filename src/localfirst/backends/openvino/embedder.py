"""Turns texts into vectors by OpenVINO folders whose graph gives states, as exported for feature extraction.

OpenVINO GenAI has a pipeline for these. It opens the whole folder, with a template that it would run, knows no end of
a context, and cannot be cancelled inside a text; so the graph is run by OpenVINO itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.backends import limits
from localfirst.backends.base import LoadedInfo
from localfirst.backends.openvino import shared
from localfirst.backends.openvino.folder import MODEL
from localfirst.backends.vectors import make_unit
from localfirst.conversation import Embedding, Scores
from localfirst.errors import EngineError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localfirst.backends.base import Chunk, GenerateRequest, LoadOptions
    from localfirst.backends.openvino.folder import OpenVinoFolder
    from localfirst.types import Pooling

STATES = ("last_hidden_state", "token_embeddings")
"""What exporters call the states of a text's tokens. Source: huggingface/optimum, `exporters/onnx/model_configs.py`."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
POLL_MS = 50
"""How often a cancel is looked for while a text is computed."""


class OpenVinoEmbedder:
    """An embedding model in OpenVINO. One request at a time."""

    def __init__(self, path: Path, folder: OpenVinoFolder, options: LoadOptions, pooling: Pooling) -> None:
        openvino = shared.import_openvino()
        import openvino_genai

        context_tokens = shared.find_context(path, folder, options)
        device, full_name = shared.find_device(openvino, options.placement)
        try:
            self._tokenizer = shared.open_tokenizer(openvino, openvino_genai, path)
            core = openvino.Core()
            graph = core.read_model(path / f"{MODEL}.xml")
            self._states, self._inputs = _find_ends(graph, path)
            properties = shared.make_properties(options)
            if options.placement == "cpu":  # vectors of one model are compared wherever they were made
                properties["INFERENCE_PRECISION_HINT"] = "f32"
            self._request = core.compile_model(graph, device, properties).create_infer_request()
        except RuntimeError as error:
            raise shared.translate(error, path) from error
        self.info = LoadedInfo(
            backend="openvino",
            engine="openvino-genai",
            engine_version=openvino_genai.__version__.partition("-")[0],
            context_tokens=context_tokens,
            device=full_name,
            placement=options.placement,
            parallel=1,
            template=None,
            pooling=pooling,
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        return self._tokenize(text, add_special=False)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:  # noqa: ARG002 - the contract's
        """Refuse: it embeds."""
        raise limits.refuse_as_loaded(embeds=True)

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:
        """The vectors of texts, one text after the other."""
        prompts = [self._tokenize(text, add_special=True) for text in texts]
        limits.check_texts(texts, [len(prompt) for prompt in prompts], self.info.context_tokens)
        found = []
        for prompt in prompts:
            states = self._compute(prompt, cancelled)
            if states is None:
                return []
            found.append(Embedding(make_unit(_pool(states, self.info.pooling)), len(prompt)))
        return found

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:  # noqa: ARG002
        """Refuse: it was loaded to embed."""
        raise limits.refuse_as_loaded(embeds=True)

    def close(self) -> None:
        """Free the model."""
        del self._request, self._tokenizer

    def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special).input_ids.data[0].tolist()
        return tokens

    def _compute(self, tokens: Sequence[int], cancelled: Callable[[], bool]) -> Any:
        """The states of a text, a row for each token; `None` where it was cancelled.

        Raises:
            EngineError: the engine failed.
        """
        import numpy as np

        made = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, len(tokens)), np.int64),
            "token_type_ids": np.zeros((1, len(tokens)), np.int64),
            "position_ids": np.arange(len(tokens), dtype=np.int64)[None],
        }
        if cancelled():
            return None
        try:
            self._request.start_async({name: made[name] for name in self._inputs})
            while not self._request.wait_for(POLL_MS):
                if cancelled():
                    self._request.cancel()
                    return None
            return self._request.get_tensor(self._states).data[0]
        except RuntimeError as error:
            raise EngineError("OpenVINO failed while it computed a text", detail=shared.find_words(error)) from error


def _find_ends(graph: Any, path: Path) -> tuple[str, list[str]]:
    """The output that holds the states, and the inputs.

    Raises:
        ModelFileError: the graph is that of a model that answers, or of another kind.
    """
    inputs = [name for one in graph.inputs for name in [next(iter(one.names & set(INPUTS)), one.any_name)]]
    outputs = {name for one in graph.outputs for name in one.names}
    states = next((name for name in STATES if name in outputs), None)
    if states is None or not set(inputs) <= set(INPUTS):
        raise ModelFileError(
            f"{path.name} holds a graph that gives no states, of which vectors are made",
            detail=f"from {', '.join(inputs)} it computes {', '.join(sorted(outputs))}",
            hint="Take one exported for it: `optimum-cli export openvino --task feature-extraction`",
        )
    return states, inputs


def _pool(states: Any, pooling: Pooling | None) -> list[float]:
    row = {"cls": 0, "last": -1}.get(pooling or "mean")
    vector: list[float] = (states.mean(axis=0) if row is None else states[row]).tolist()
    return vector
