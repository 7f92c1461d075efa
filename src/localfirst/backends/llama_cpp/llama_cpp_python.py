"""Runs GGUF files in llama.cpp, by the low-level API of llama-cpp-python.

Answers are held to constraints by llguidance, grammars in llama.cpp's own notation too. llama.cpp's sampler for those
(`llama_sampler_init_grammar`) ends the process at 20,000 nested brackets or at 100,000 rules in a chain, takes an empty
grammar for none, and tries every token anew. With Llama 3's vocabulary that takes 13 to 27 ms for each token of an
answer, and 0.5 s with an ambiguous grammar; llguidance and the masking take 0.14 ms with a JSON schema.
"""

from __future__ import annotations

import codecs
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from localfirst.backends import guide, limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Piece, Started
from localfirst.backends.llama_cpp import amx, api
from localfirst.backends.llama_cpp.engine import LlamaEngine
from localfirst.backends.llama_cpp.gguf_header import find_context, read_header
from localfirst.backends.scoring import Scoring, weigh
from localfirst.backends.text import Pieces, begin_with
from localfirst.backends.token_bytes import find_special
from localfirst.backends.vectors import make_unit
from localfirst.conversation import MOST_LIKELIEST, Embedding, Scores, Usage
from localfirst.errors import DeviceError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.backends.llama_cpp.api import EngineDevice
    from localfirst.backends.llama_cpp.engine import Sampler
    from localfirst.conversation import Constraint, FinishReason
    from localfirst.gguf import GgufHeader
    from localfirst.types import Placement

COPIES = 2
"""Of what cannot be cut back, as many as memory is reserved for."""
GPU_KINDS = (api.GPU, api.INTEGRATED_GPU)
PLACEMENTS: dict[Placement, tuple[int, ...]] = {"cpu": (api.CPU,), "gpu": GPU_KINDS, "igpu": GPU_KINDS}
"""Which devices serve a placement; ggml calls Apple's integrated GPUs plain GPUs."""


class LlamaCppPythonBackend:
    """Loads a GGUF file. The header is read by us first: native code never sees a size that is a lie."""

    name = "llama-cpp-python"

    def list_devices(self) -> tuple[str, ...]:
        """The GPUs that this build of llama.cpp sees."""
        return tuple(device.description for device in api.find_devices() if device.kind in GPU_KINDS)

    def describe_build(self) -> str:
        """Version and commit of ggml, the compiler, and the instructions that it uses."""
        gcc = amx.find_gcc(api.read_processor_code())
        compiler = f", compiled by GCC {gcc}" if gcc else ""
        return f"{api.describe_ggml()}{compiler}; {api.describe_system()}"

    def load(self, files: ModelFiles, options: LoadOptions) -> LlamaModel:
        """Load a model.

        Raises:
            ModelFileError: the file is missing, damaged, or no GGUF.
            DeviceError: this build of llama.cpp has no such device.
            NoFitError: by llama.cpp's own account it needs more memory than it may take.
            EngineError: llama.cpp does not load it, e.g. an architecture that it does not know.
        """
        path = Path(files.main)
        header = read_header(path)
        context_tokens = find_context(header, options.context_tokens, path)
        options = replace(options, pooling=options.pooling or header.pooling)
        device = _find_device(api.find_devices(), options.placement)
        info = LoadedInfo(
            backend=self.name,
            engine="llama-cpp-python",
            engine_version=api.find_version(),
            context_tokens=context_tokens,
            device=device.name,
            placement=options.placement,
            parallel=1,
            template=header.template,
            pooling=options.pooling,
        )
        return LlamaModel(self._make_engine(path, header, context_tokens, options), info)

    def _make_engine(self, path: Path, header: GgufHeader, context_tokens: int, options: LoadOptions) -> LlamaEngine:
        """The engine with the model in it."""
        del header
        return LlamaEngine(str(path), context_tokens, options)


class LlamaModel:
    """A model in llama.cpp. One request at a time."""

    def __init__(self, engine: LlamaEngine, info: LoadedInfo) -> None:
        self._engine = engine
        self._cache = _Cache(engine)
        self._first = engine.find_first()
        bos_token, eos_token = engine.find_special()
        self._guides = guide.Guides(self._describe_tokens)
        kinds = guide.find_kinds() if eos_token else ()  # without an end, no held answer would come to one
        self.info = replace(
            info,
            bos_token=bos_token,
            eos_token=eos_token,
            constraints=kinds,
            vocabulary_size=engine.vocabulary_size,
            likeliest=MOST_LIKELIEST,
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        return self._engine.tokenize(text)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancel is seen while a part of the prompt is computed, and after each token."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        limits.check_asked(request, self.info)
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        held = self._make_guide(request.constraint)
        yield Started(len(prompt))
        began = perf_counter()
        cached_tokens = self._cache.keep_common(prompt)
        if not self._cache.read_prompt(prompt, request.cancelled):
            yield Finished("cancelled", Usage(len(prompt), 0, cached_tokens))
            return
        prefill_s = perf_counter() - began
        sampler = self._engine.make_sampler(request.sampling, prompt)
        try:
            special = find_special(request.special, self.tokenize)
            answer = _Answer(self._engine, request, allowance, special)
            yield from self._answer(answer, partial(self._draw, sampler, held, request), request.cancelled)
        finally:
            sampler.close()
        if (rest := answer.pieces.flush()) is not None:
            yield rest
        usage = Usage(len(prompt), answer.generated, cached_tokens)
        yield Finished(answer.reason or "cancelled", usage, prefill_s, answer.decode_s, answer.pieces.word)

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:
        """The vectors of texts, one text after the other: together they are not computed faster on a CPU."""
        if self.info.pooling is None:
            raise limits.refuse_as_loaded(embeds=False)
        prompts = [self._engine.tokenize(text, add_special=True) for text in texts]
        limits.check_texts(texts, [len(prompt) for prompt in prompts], self.info.context_tokens)
        embeddings = []
        for prompt in prompts:
            vector = self._engine.embed(prompt, cancelled)
            if vector is None:
                return []
            embeddings.append(Embedding(make_unit(vector), len(prompt)))
        return embeddings

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:
        """How likely each token is. A cancel is seen while a part of them is computed."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        prompt = begin_with(self._first, list(tokens))
        limits.check_scored(prompt, tokens, self.info.context_tokens)
        scoring = Scoring(prompt, len(tokens), likeliest)
        return scoring.finish() if self._engine.read_each(prompt, scoring.take, cancelled) else Scores(())

    def close(self) -> None:
        """Free the model."""
        self._engine.close()

    def _draw(self, sampler: Sampler, held: guide.Guide | None, request: GenerateRequest) -> tuple[int, Any]:
        """The next token, and what the logits were like before, where that is to be told."""
        logits = None if request.likeliest is None else self._engine.copy_logits()
        return sampler.draw() if held is None else sampler.draw_held(held), logits

    def _answer(
        self, answer: _Answer, draw: Callable[[], tuple[int, Any]], cancelled: Callable[[], bool]
    ) -> Iterator[Piece]:
        token, logits = draw()
        while True:
            if (piece := answer.take(token, logits)) is not None:
                yield piece
            if answer.reason is not None:
                return
            began = perf_counter()
            if not self._cache.read([token], cancelled):
                return
            token, logits = draw()
            answer.decode_s += perf_counter() - began

    def _make_guide(self, constraint: Constraint | None) -> guide.Guide | None:
        if constraint is None:
            return None
        return self._guides.make(constraint, self.info.engine, self._engine.vocabulary_size)

    def _describe_tokens(self) -> tuple[guide.Tokenizer, list[int]]:
        """The file's tokens for a guide, and which of them end an answer."""
        ends = self._engine.list_ends()
        tokens, special = self._engine.spell_all()
        return guide.Tokenizer(tokens, special, ends[0], self.tokenize), ends

    def _tokenize_prompt(self, text: str) -> list[int]:
        """Token ids with the model's own first token, once, whether or not its template wrote it."""
        return begin_with(self._first, self.tokenize(text))


class _Answer:
    """What has been generated: its text, a whole character at a time, and why it ended.

    What is no UTF-8 becomes U+FFFD; a character that the end cuts off is left out, as llama.cpp's server does.
    """

    def __init__(
        self, engine: LlamaEngine, request: GenerateRequest, allowance: limits.Allowance, special: Mapping[int, str]
    ) -> None:
        self._engine = engine
        self._special = special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._allowance = allowance
        self._ends = not request.ignore_end
        self._likeliest = request.likeliest or 0
        self.pieces = Pieces(request.stop)
        self.generated = 0
        self.decode_s = 0.0
        self.reason: FinishReason | None = None

    def take(self, token: int, logits: Any) -> Piece | None:
        """What is safe to show once this token has come; its `logits`, where it is to be told how likely it was."""
        self.generated += 1
        if self._ends and self._engine.is_end(token):
            self.reason = "stop"
            return None
        weighed = () if logits is None else (weigh(logits, token, self._likeliest, self._engine.name),)
        text = self._special.get(token) or self._decoder.decode(self._engine.spell(token))
        piece = self.pieces.feed(text, *weighed)
        if self.pieces.matched:
            self.reason = "stop"
        elif self.generated == self._allowance.tokens:
            self.reason = self._allowance.finish_reason
        return piece


class _Cache:
    """The engine's keys and values, and the tokens that they belong to.

    Of what cannot be cut back a copy is made before the last token of each prompt, for the next turn to start from.
    """

    def __init__(self, engine: LlamaEngine) -> None:
        self._engine = engine
        self._tokens: list[int] = []
        self._copies: list[tuple[int, Any]] = []

    def keep_common(self, prompt: Sequence[int]) -> int:
        """Forget all but what `prompt` begins with, less its last token, which is read again for its logits."""
        common = 0
        for ours, theirs in zip(self._tokens, prompt[:-1], strict=False):
            if ours != theirs:
                break
            common += 1
        self._cut(common)
        return len(self._tokens)

    def read_prompt(self, prompt: Sequence[int], cancelled: Callable[[], bool]) -> bool:
        """Compute the rest of a prompt; `False` where it was cancelled before its end.

        Raises:
            EngineError: the engine failed; nothing is kept then.
        """
        if not self._engine.needs_copies:
            return self.read(prompt[len(self._tokens) :], cancelled)
        if not self.read(prompt[len(self._tokens) : -1], cancelled):
            return False
        self._copies = [*self._copies, (len(self._tokens), self._engine.save())][-COPIES:]
        return self.read(prompt[-1:], cancelled)

    def read(self, tokens: Sequence[int], cancelled: Callable[[], bool]) -> bool:
        """Compute some more tokens; `False` where it was cancelled before their end.

        Raises:
            EngineError: the engine failed; nothing is kept then.
        """
        size = self._engine.batch_tokens
        for begin in range(0, len(tokens), size):
            part = tokens[begin : begin + size]
            try:
                done = not cancelled() and self._engine.read(part, cancelled)
            except EngineError:
                self._forget()
                raise
            if not done:
                self._cut(len(self._tokens))  # of a part that was cancelled nobody knows how much is there
                return False
            self._tokens += part
        return True

    def _cut(self, length: int) -> None:
        self._copies = [(size, copy) for size, copy in self._copies if size <= length]
        if self._engine.cut(length):
            del self._tokens[length:]
        elif self._copies and self._engine.restore(self._copies[-1][1], self._copies[-1][0]):
            del self._tokens[self._copies[-1][0] :]
        else:
            self._forget()

    def _forget(self) -> None:
        self._engine.forget()
        self._tokens, self._copies = [], []


def _find_device(devices: Sequence[EngineDevice], placement: Placement) -> EngineDevice:
    """The engine's device that a placement means.

    Raises:
        DeviceError: this build of the engine has no such device.
    """
    kinds = PLACEMENTS.get(placement, ())
    for device in devices:
        if device.kind in kinds:
            return device
    raise DeviceError(
        f"This build of llama.cpp has no device of kind `{placement}`",
        detail="\n".join(f"{device.name}: {device.description}" for device in devices),
    )
