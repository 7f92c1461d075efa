"""What an engine's adapter must do, and the values it speaks in. Knows no engine, no template and no wire.

An adapter hides its engine's gaps: stop strings, the context limit, seeds, finish reasons, token counts, cancelling
inside the prompt. What an engine truly cannot do is an error that names it, never silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from localfirst.types import ALONE, Parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.conversation import (
        Constraint,
        ConstraintKind,
        Embedding,
        FinishReason,
        Message,
        Sampling,
        Scores,
        Usage,
        Weighed,
    )
    from localfirst.types import CacheType, Placement, Pooling


def ignore(_text: str, _lasting: bool) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What to load. `main` is what the engine opens: a file or a folder; for a server elsewhere, its address."""

    main: str
    draft: str | None = None
    """A smaller model of the same vocabulary, which guesses the next tokens for the model to check: the answer is the
    model's own. Only given to engines that can."""


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
    parallel: Parallel = ALONE
    """How to spread over devices and machines; only asked of engines that can."""
    key: str | None = None
    """What a server elsewhere wants to be shown, where it wants anything."""
    model: str | None = None
    """Which of the models of a server elsewhere; `None`: its only one."""
    report: Callable[[str, bool], None] = ignore
    """Told now and then how far a load of minutes is, and, lasting, what the user has to know of it."""
    starting: set[Callable[[], None]] = field(default_factory=set)
    """What ends the programs that are being started and do not answer yet, for a worker that leaves meanwhile."""
    requests: int = 1
    """Requests to compute at the same time, each with the whole context; an engine that cannot computes one."""
    pooling: Pooling | None = None
    """How to make one vector of a text; only asked of engines that can. `None`: as the files say. A model whose files
    do not say is loaded to answer, and one that has a pooling to embed."""
    budget_bytes: int | None = None
    """Memory that the model may take; `None` where nobody knows. An engine that can tell its need exactly before it
    loads refuses what is larger."""
    batch_tokens: int | None = None
    """Prompt tokens to compute at once; `None`: what the adapter has found best. Only asked of engines that can."""


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
    pooling: Pooling | None = None
    """How it makes one vector of a text; `None`: it answers, and does not embed."""
    constraints: tuple[ConstraintKind, ...] = ()
    """What it can hold an answer to."""
    ignores_end: bool = True
    """Whether it can go on past what ends an answer."""
    lacks: tuple[str, ...] = ()
    """Fields of `Sampling` that it cannot honour: `generate` refuses them by name."""
    vocabulary_size: int | None = None
    """Tokens that it can draw; `None` where nobody says."""
    likeliest: int | None = None
    """The most that it tells of what was likeliest in the place of each token; `None`: it does not even tell how likely
    the token itself was."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt, already rendered, as text (special tokens are parsed) or as token ids.

    `stop` strings end the answer and are not part of it. `cancelled` is asked between steps, also while the prompt is
    being read. `constraint` is one of those that the model's `info.constraints` names.
    """

    prompt: str | tuple[int, ...]
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    cancelled: Callable[[], bool] = field(default=lambda: False)
    constraint: Constraint | None = None
    special: tuple[str, ...] = ()
    """Special tokens that are written out in the answer; all others are not."""
    ignore_end: bool = False
    """Go on past what ends an answer by itself, up to `max_tokens`; only asked of engines that can."""
    likeliest: int | None = None
    """How many of the likeliest tokens to tell in the place of each, beside how likely it was; `None`: neither."""


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is tokenized and fits; the engine reads it, or has. `None`: a server tells its length in the end."""

    prompt_tokens: int | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is safe to show: whole characters, and no part of a stop string that may still complete."""

    text: str
    reasoning: bool = False
    """Whether a server that tells them apart itself says that this is thinking, not the answer."""
    weighed: tuple[Weighed, ...] = ()
    """The tokens whose text begins here, where that was asked for; what ends the answer is none of them."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer. Seconds are the engine's own: reading the prompt, and generating after the first token."""

    finish_reason: FinishReason
    usage: Usage
    prefill_s: float | None = None
    decode_s: float | None = None
    stopped_by: str | None = None
    """The stop string that ended it; `None`: something else did."""


Chunk = Started | Piece | Finished
"""An answer is one `Started`, any number of `Piece`s (none empty: it has text or tokens), one `Finished`."""


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
            UsageError: the engine lacks what is asked of its sampling, or does not tell how likely tokens are; or there
                is a bias of a token that the model has not.
            ConstraintError: the engine refuses the constraint; before any piece.
            EngineError: the engine failed; its words are in the detail.
        """
        ...

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:
        """The vectors of texts, in their order; none where it was cancelled meanwhile.

        Raises:
            ContextError: a text is longer than the context; nothing is computed then.
            UsageError: a text is empty, or the model was not loaded to embed.
            EngineError: the engine cannot, or failed; its words are in the detail.
        """
        ...

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:
        """How likely each token is after those before it, and so many of the likeliest in its place.

        The model's own first token is put before them where it wants one, once, and is not scored.

        Raises:
            ContextError: they are longer than the context.
            UsageError: there are fewer than two, or the model was loaded to embed.
            EngineError: the engine cannot, or failed; its words are in the detail.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@runtime_checkable
class Converser(Protocol):
    """A loaded model whose template only its server knows: it takes messages, not a prompt."""

    def converse(self, messages: Sequence[Message], request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a conversation; `request.prompt` is not looked at. Raises as `LoadedModel.generate`."""
        ...


@runtime_checkable
class Pusher(Protocol):
    """A loaded model whose engine calls back: what it says need not wake a thread that waits for it."""

    def push(self, request: GenerateRequest, put: Callable[[Chunk], None], pass_on: Callable[[], None]) -> None:
        """Answer a prompt without a constraint; returns when the engine has done with it.

        An answer that is cancelled has its end before.

        `put` is given what `generate` yields, and `pass_on` is called whenever nothing more is there at the moment:
        both by one thread at a time, not always the same, and not after the end. Raises as `LoadedModel.generate`.
        """
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
