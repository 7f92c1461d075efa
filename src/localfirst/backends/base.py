"""What an engine's adapter must do, and the values it speaks in. Knows no engine, no template and no wire.

An adapter hides its engine's gaps: stop strings, the context limit, seeds, finish reasons, token counts, cancelling
inside the prompt. What an engine truly cannot do is an error that names it, never silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.conversation import FinishReason, Sampling, Usage
    from localfirst.types import CacheType, Placement


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files to load. `main` is what the engine opens: a GGUF file, or a folder with `genai_config.json`."""

    main: str


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load: as much as a plan decides.

    `context_tokens` None means the model's own context. `threads` is the number of computing threads.
    """

    context_tokens: int | None
    threads: int
    placement: Placement = "cpu"
    device_layers: int | None = None
    """Layers to compute on the device, where the CPU computes the others; `None`: all."""
    cache: CacheType = "f16"
    """How to keep keys and values; only asked of engines that can."""
    memory_bytes: int | None = None
    """What the plan counts with in all; for engines that would use more where more is free. `None`: no such limit."""


@dataclass(frozen=True, slots=True)
class LoadedInfo:
    """What is really loaded, as the engine reports it."""

    backend: str
    engine: str
    engine_version: str
    context_tokens: int
    """Tokens that prompt and answer may have together."""
    device: str
    """Where the engine says it computes, in its own words: `CPU`, `CUDA0`, ..."""
    placement: Placement
    parallel: int
    """Requests it computes at the same time; the worker queues the rest."""
    template: str | None
    """The chat template in the artefact, Jinja source, or `None` where it has none."""
    bos_token: str = ""
    eos_token: str = ""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt, already rendered, as text (special tokens are parsed) or as token ids.

    `stop` strings end the answer and are not part of it. `cancelled` is asked between steps, also while the prompt is
    being read.
    """

    prompt: str | tuple[int, ...]
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    cancelled: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is tokenized and fits; reading it begins."""

    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is safe to show: whole characters, and no part of a stop string that may still complete."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer. Seconds are the engine's own: reading the prompt, and generating after the first token."""

    finish_reason: FinishReason
    usage: Usage
    prefill_s: float | None = None
    decode_s: float | None = None


Chunk = Started | Piece | Finished
"""`generate` yields one `Started`, any number of `Piece`s (none empty), one `Finished`."""


class LoadedModel(Protocol):
    """A model in memory. `generate` may be called from several threads, up to `info.parallel` at once."""

    info: LoadedInfo

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        ...

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt.

        Raises:
            ContextError: the prompt alone fills the context.
            EngineError: the engine failed; its words are in the detail.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Backend(Protocol):
    """An engine's adapter; the engine itself is imported in `load`, never at the top of the module."""

    def list_devices(self) -> tuple[str, ...]:
        """What the engine calls the devices that it sees and could compute on, besides the CPU."""
        ...

    def describe_build(self) -> str:
        """What the engine says of its own build, one line: commit, compiler, instruction sets; no more than it says."""
        ...

    def load(self, files: ModelFiles, options: LoadOptions) -> LoadedModel:
        """Load a model.

        Raises:
            ModelFileError: a file is missing, damaged or not of this engine's format.
            EngineError: the engine refused for another reason.
        """
        ...
