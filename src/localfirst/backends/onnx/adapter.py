"""Runs ONNX folders in ONNX Runtime GenAI.

The engine fixes sampling options when it makes a generator, and a new generator forgets what it has read; it has no
min-p; and its top-p without top-k draws tokens that top-p excludes. So one generator lives as long as the model and
only computes logits, and the tokens are drawn here: any options, any seed, and the cache of the turn before.

A constraint belongs to the generator too, so an answer that is held to one reads its prompt anew.

One request at a time: the engine's own batches (`Engine`) are fixed when they begin on a CPU, so that who comes later
waits for the slowest; and they take no seed, and read a prompt in one piece, which no cancel ends (seen with 0.18.0).
What would mend that, its dynamic batching, needs models built with paged attention, which is for CUDA and WebGPU.
"""

from __future__ import annotations

import json
import re
from operator import attrgetter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from localfirst.backends import constraints, limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Started
from localfirst.backends.onnx import providers
from localfirst.backends.onnx.folder import read_folder
from localfirst.backends.sampler import Sampler
from localfirst.backends.scoring import Scoring, weigh
from localfirst.backends.text import Pieces, begin_with
from localfirst.backends.token_bytes import ByteDecoder, make_speller, show_special
from localfirst.choices import ONNX_PREFILL_TOKENS
from localfirst.conversation import MOST_LIKELIEST, Scores, Usage
from localfirst.errors import EngineError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.backends.onnx.folder import OnnxFolder
    from localfirst.backends.onnx.providers import Provider
    from localfirst.backends.token_bytes import Decoder
    from localfirst.conversation import Constraint, ConstraintKind, FinishReason

DAMAGED = re.compile(r"Protobuf parsing failed|External data|external data|out of bounds|File doesn't exist|ModelProto")
"""What the engine says of files that are missing or cut short, which only it can see."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
GUIDANCE: dict[ConstraintKind, tuple[str, Callable[[Constraint], str]]] = {
    "json_schema": ("json_schema", constraints.find_guided_schema),
    "json_object": ("json_schema", constraints.find_guided_schema),
    "regex": ("regex", attrgetter("text")),
    "lark": ("lark_grammar", attrgetter("text")),
}
"""Constraints as the engine calls them. Source: microsoft/onnxruntime-genai, `src/constrained_logits_processor.cpp`."""
SPIN_US = "50"
"""How long a thread without work spins for the next before it sleeps, in microseconds. A token is some hundred small
pieces of work, so that waking costs much; and who spins takes the core from others, so that a token costs more where
there are any. Tokens per second of 125 M weights by two threads on two cores, idle, with one busy process, and with
two: never 293, 244, 87; the engine's own 395, 127, 94; these 434, 235, 139. Earlier engines know no such limit, pass
over it, and spin as they do. Source: microsoft/onnxruntime, `onnxruntime_session_options_config_keys.h`."""


class OnnxBackend:
    """Loads a folder with `genai_config.json`."""

    def list_devices(self) -> tuple[str, ...]:
        """Those that an execution provider in this environment sees."""
        return providers.list_devices()

    def describe_build(self) -> str:
        """Version and commit of the ONNX Runtime below, which computes."""
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}, {onnxruntime.get_build_info()}"

    def load(self, files: ModelFiles, options: LoadOptions) -> OnnxModel:
        """Load a model.

        Raises:
            ModelFileError: a file of the folder is missing or damaged.
            DeviceError: a device is asked for that nothing in this environment computes on.
            EngineError: the engine refuses the folder or lacks the memory.
        """
        provider = providers.find_provider(options.placement)
        return OnnxModel(Path(files.main), read_folder(Path(files.main)), options, provider)


class OnnxModel(limits.EmbedsNothing):
    """A model in ONNX Runtime GenAI. One request at a time."""

    def __init__(self, path: Path, folder: OnnxFolder, options: LoadOptions, provider: Provider | None = None) -> None:
        import onnxruntime_genai

        self._genai: Any = onnxruntime_genai
        context_tokens = min(options.context_tokens or folder.context_tokens, folder.context_tokens)
        try:
            self._model = _open_model(onnxruntime_genai, path, options, provider)
            self._tokenizer = onnxruntime_genai.Tokenizer(self._model)
            self._cache = _Cache(self._make_generator(context_tokens))
            self._bos = self._find_added_bos()
        except Exception as error:
            raise _translate(error, path) from error
        self._ends = frozenset(int(token) for token in self._tokenizer.eos_token_ids)
        self._prefill_tokens = options.batch_tokens or ONNX_PREFILL_TOKENS
        self._token_bytes = folder.token_bytes
        self._spell = make_speller(folder.token_bytes, folder.names, self._tokenizer.decode)
        self.info = LoadedInfo(
            backend="onnx",
            engine="onnxruntime-genai",
            engine_version=onnxruntime_genai.__version__,
            context_tokens=context_tokens,
            device=self._model.device_type,
            placement=options.placement,
            parallel=1,
            template=folder.template,
            bos_token=folder.bos_token,
            eos_token=folder.eos_token,
            constraints=tuple(GUIDANCE),
            vocabulary_size=folder.vocabulary_size,
            likeliest=MOST_LIKELIEST,
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        tokens: list[int] = self._tokenizer.encode(text).tolist()
        return tokens

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancel is seen after each chunk of the prompt and after each token."""
        limits.check_asked(request, self.info)
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        if request.constraint is not None:
            self._guide(request.constraint)
        yield Started(len(prompt))
        try:
            yield from self._answer(prompt, allowance, request)
        except RuntimeError as error:
            self._cache = _Cache(self._make_generator(self.info.context_tokens))
            raise EngineError("ONNX Runtime GenAI failed while answering", detail=_find_words(error)) from error

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:
        """How likely each token is. A cancel is seen after each chunk of them."""
        prompt = begin_with(self._bos, list(tokens))
        limits.check_scored(prompt, tokens, self.info.context_tokens)
        scoring = Scoring(prompt, len(tokens), likeliest)
        try:
            done = self._cache.read_each(prompt, scoring.take, cancelled)
        except RuntimeError as error:
            self._cache = _Cache(self._make_generator(self.info.context_tokens))
            raise EngineError("ONNX Runtime GenAI failed while computing", detail=_find_words(error)) from error
        return scoring.finish() if done else Scores(())

    def close(self) -> None:
        """Free the model."""
        del self._cache, self._tokenizer, self._model

    def _answer(self, prompt: list[int], allowance: limits.Allowance, request: GenerateRequest) -> Iterator[Chunk]:
        cache = self._cache
        guided = request.constraint is not None
        started = perf_counter()
        cached_tokens = cache.keep_common(prompt)
        while len(cache.tokens) < len(prompt) and not request.cancelled():
            cache.read(prompt[len(cache.tokens) : len(cache.tokens) + self._prefill_tokens])
        if len(cache.tokens) < len(prompt):
            yield Finished("cancelled", Usage(len(prompt), 0, cached_tokens))
            return
        prefill_s = perf_counter() - started
        sampler, decoder = Sampler(request.sampling, prompt), self._make_decoder(request.special)
        pieces = Pieces(request.stop)
        generated, decode_s = 0, 0.0
        reason: FinishReason | None = None
        while True:
            logits = None if request.likeliest is None else cache.find_logits().copy()
            token = cache.draw_guided(sampler) if guided else sampler.draw(cache.find_logits())
            generated += 1
            if token not in self._ends:
                weighed = () if logits is None else (weigh(logits, token, request.likeliest or 0, self._spell),)
                if (piece := pieces.feed(decoder.feed(token), *weighed)) is not None:
                    yield piece
            reason = self._find_end(token, generated, pieces, allowance, request)
            if reason is not None:
                break
            started = perf_counter()
            cache.follow(token)
            decode_s += perf_counter() - started
        if (held := pieces.flush()) is not None:
            yield held
        yield Finished(reason, Usage(len(prompt), generated, cached_tokens), prefill_s, decode_s, pieces.word)

    def _find_end(
        self, token: int, generated: int, pieces: Pieces, allowance: limits.Allowance, request: GenerateRequest
    ) -> FinishReason | None:
        if pieces.matched or (token in self._ends and not request.ignore_end):
            return "stop"
        if generated == allowance.tokens:
            return allowance.finish_reason
        return "cancelled" if request.cancelled() else None

    def _tokenize_prompt(self, text: str) -> list[int]:
        """Token ids with the model's own first token, once, whether or not its template wrote it."""
        tokens = self.tokenize(text)
        return begin_with(self._bos, tokens)

    def _find_added_bos(self) -> list[int]:
        """The token that the tokenizer puts before every text, if it does; by default the engine leaves it out."""
        tokenizer = self._genai.Tokenizer(self._model)
        tokenizer.update_options(add_special_tokens=True)
        added: list[int] = tokenizer.encode("").tolist()[:1]
        return added if added == [tokenizer.bos_token_id] else []

    def _make_generator(self, context_tokens: int, constraint: Constraint | None = None) -> Any:
        params = self._genai.GeneratorParams(self._model)
        params.set_search_options(max_length=context_tokens, batch_size=1, num_beams=1, do_sample=False)
        if constraint is not None:
            kind, find_text = GUIDANCE[constraint.kind]
            params.set_guidance(kind, find_text(constraint))
        return self._genai.Generator(self._model, params)

    def _guide(self, constraint: Constraint) -> None:
        """Begin anew with a cache that is held to a constraint: it belongs to the engine's object for the answer.

        Raises:
            ConstraintError: the engine refuses it.
        """
        try:
            self._cache = _Cache(self._make_generator(self.info.context_tokens, constraint))
        except RuntimeError as error:
            reason = str(error).removeprefix("Error creating grammar: ")
            raise constraints.refuse(constraint, "ONNX Runtime GenAI", reason) from error

    def _make_decoder(self, special: Sequence[str]) -> Decoder:
        plain: Decoder = _EngineDecoder(self._tokenizer.create_stream())
        if self._token_bytes is not None:
            plain = ByteDecoder(self._token_bytes)
        return show_special(plain, special, self.tokenize)


class _Cache:
    """The engine's keys and values, and the tokens that they belong to."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._drawn: int | None = None  # the engine has taken it, and has not computed it yet
        self.tokens: list[int] = []

    def keep_common(self, prompt: Sequence[int]) -> int:
        """Forget all but what `prompt` begins with, less its last token, which is read again for its logits."""
        common = 0
        for ours, theirs in zip(self.tokens, prompt[:-1], strict=False):
            if ours != theirs:
                break
            common += 1
        if common < len(self.tokens) or self._drawn is not None:
            self._generator.rewind_to(common)
            self._drawn = None
            del self.tokens[common:]
        return common

    def read(self, tokens: list[int]) -> None:
        """Compute the keys, values and logits of some more tokens."""
        self._generator.append_tokens(tokens)
        self.tokens += tokens

    def read_each(self, tokens: list[int], take: Callable[[Any], None], cancelled: Callable[[], bool]) -> bool:
        """Compute a text from its beginning, and give `take` the logits after each token; `False` where cancelled.

        Graphs may compute only those after the last token of a chunk; there a chunk is one token.
        """
        import numpy as np

        self.keep_common([])
        chunk = ONNX_PREFILL_TOKENS
        while (begin := len(self.tokens)) < len(tokens):
            if cancelled():
                return False
            part = tokens[begin : begin + chunk]
            self.read(part)
            rows = np.asarray(self._generator.get_output("logits"))[0]
            if len(rows) == len(part):
                take(rows)
            else:
                chunk = 1
                self.keep_common(tokens[: begin + 1])
        return True

    def follow(self, token: int) -> None:
        """Compute the token that was drawn last, by us or by the engine, which has taken it then."""
        if self._drawn is None:
            self.read([token])
        else:
            self._generator.get_logits()
            self.tokens.append(token)
            self._drawn = None

    def draw_guided(self, sampler: Sampler) -> int:
        """Draw the next token among those that the constraint allows.

        The engine draws, since only it knows what is allowed: the likeliest, of logits that hold the chances already.
        """
        logits = self._generator.get_logits()
        self._generator.set_logits(sampler.spread(logits.reshape(-1)).reshape(logits.shape))
        self._generator.generate_next_token()
        self._drawn = token = int(self._generator.get_next_tokens()[0])
        sampler.note(token)
        return token

    def find_logits(self) -> Any:
        """One logit for each token of the vocabulary, after the last token read."""
        return self._generator.get_logits().reshape(-1)


class _EngineDecoder:
    """The engine's own stream, for tokenizers that we do not know."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def feed(self, token: int) -> str:
        text: str = self._stream.decode(token)
        return text


def _open_model(genai: Any, path: Path, options: LoadOptions, provider: Provider | None) -> Any:
    config = genai.Config(str(path))
    providers.apply(provider, options.placement, genai, config)
    session = {"intra_op_num_threads": options.threads, "session.intra_op.spin_duration_us": SPIN_US}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    return genai.Model(config)


def _translate(error: Exception, path: Path) -> EngineError | ModelFileError:
    words = _find_words(error)
    if DAMAGED.search(words):
        return ModelFileError(f"A file of {path.name} is missing or damaged", detail=words)
    return EngineError(f"ONNX Runtime GenAI could not load {path.name}", detail=words)


def _find_words(error: Exception) -> str:
    """The first line of what the engine says that says something."""
    lines = (ESCAPES.sub("", line).strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
