"""Runs MLX folders by mlx-lm: on the GPU of Apple silicon, or on the processor, which is for tests.

mlx-lm's own loop has no stop strings, no limit of the context, and rounds logits before it picks the best. So of it we
use what loads and computes a model; prompts, tokens and text are led from here. Token n + 1 is queued before token n is
known, as mlx-lm does: drawing happens where the model is computed.

Streams of MLX belong to the thread that made them, so each model is computed in one thread of its own. A cancelled
prompt is left alone there until its chunk ends.

One request at a time. mlx-lm's `BatchGenerator` computes several, and on the processor each answer is then the same as
alone, bit by bit; on Metal that has not been looked at.
"""

from __future__ import annotations

import gc
import re
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from localfirst.backends import guide, limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Piece, Started
from localfirst.backends.mlx.folder import MlxFolder, read_folder
from localfirst.backends.mlx.sampler import NOT_A_NUMBER, DeviceSampler
from localfirst.backends.model_folder import TOKENIZER
from localfirst.backends.text import StopFilter, begin_with
from localfirst.backends.token_bytes import ByteDecoder, show_special
from localfirst.choices import MLX_PREFILL_TOKENS
from localfirst.conversation import Usage
from localfirst.errors import DeviceError, EngineError, LfError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.backends.token_bytes import Decoder
    from localfirst.conversation import FinishReason
    from localfirst.types import CacheType, Placement

_Result = TypeVar("_Result")

POLL_S = 0.05
"""How often a cancel is looked for while a prompt is read."""
FREED_BYTES = 256 * 2**20
"""Freed memory that MLX may keep for its next arrays; by default it is all that was ever used."""
CACHE_BITS: dict[CacheType, int | None] = {"f16": None, "q8_0": 8, "q4_0": 4}
CACHE_GROUP = 64
"""Numbers that share a scale and a bias of two bytes each: as many bytes in all as llama.cpp's blocks of 32."""
GPU_PLACEMENTS: tuple[Placement, ...] = ("gpu", "igpu")
DAMAGED = re.compile(
    r"\[load_safetensors\]|\[read\]|incomplete download|Missing \d+ parameters|Expected shape|Received \d+ parameters"
)
"""What MLX says of weights that are cut short, or that do not belong to their configuration."""


class MlxBackend:
    """Loads a folder with `config.json`, `tokenizer.json` and safetensors."""

    def list_devices(self) -> tuple[str, ...]:
        """The GPU of Apple silicon, if this build of MLX sees it."""
        mx = _import_core()
        return (_find_device_name(mx),) if mx.metal.is_available() else ()

    def describe_build(self) -> str:
        """Version of MLX, and the devices that it has kernels for."""
        mx = _import_core()
        kernels = "Metal" if mx.metal.is_available() else "the processor only"
        facts = ", ".join(f"{name} {value}" for name, value in mx.device_info().items())
        return f"MLX {mx.__version__} for {kernels}; {facts}"

    def load(self, files: ModelFiles, options: LoadOptions) -> MlxModel:
        """Load a model. MLX has no setting for the number of threads.

        Raises:
            ModelFileError: a file of the folder is missing, damaged, or asks for code to be run.
            DeviceError: this build of MLX does not compute there.
            EngineError: mlx-lm does not load it, e.g. an architecture that it does not know, or cannot compute it here.
        """
        mx = _import_core()
        on_gpu = options.placement in GPU_PLACEMENTS
        if options.placement != "cpu" and not (on_gpu and mx.metal.is_available()):
            raise DeviceError(f"This build of MLX does not compute on a `{options.placement}`")
        path = Path(files.main)
        return MlxModel(path, read_folder(path), options)


class MlxModel(limits.EmbedsNothing):
    """A model in MLX. One request at a time."""

    def __init__(self, path: Path, folder: MlxFolder, options: LoadOptions) -> None:
        context_tokens = min(filter(None, (options.context_tokens, folder.context_tokens)), default=None)
        if context_tokens is None:
            raise ModelFileError("config.json does not say how long its context is")
        self._folder = folder
        self._tokenizer = _open_tokenizer(path / TOKENIZER)  # first: a wrong one is told before gigabytes are read
        self._bos = self._find_added_bos()
        self._ends = folder.end_ids | {self._tokenizer.token_to_id(folder.eos_token)}
        self._guides = guide.Guides(lambda: (str(path / TOKENIZER), self._ends - {None}))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlx")
        try:
            self._network = self._submit(_Network, path, options).result()
        except Exception as error:
            self._thread.shutdown()
            raise _translate(error, path) from error
        self.info = LoadedInfo(
            backend="mlx",
            engine="mlx-lm",
            engine_version=self._network.version,
            context_tokens=context_tokens,
            device=self._network.device,
            placement=options.placement,
            parallel=1,
            template=folder.template,
            bos_token=folder.bos_token,
            eos_token=folder.eos_token,
            constraints=guide.find_kinds(),
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancelled answer ends at once; MLX stops with the chunk that it computes."""
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        held: guide.Guide | None = None
        if request.constraint is not None:
            held = self._guides.make(request.constraint, "MLX", self._network.vocabulary_size)
        yield Started(len(prompt))
        try:
            yield from self._answer(prompt, allowance, request, held)
        except (RuntimeError, ValueError) as error:
            self._submit(self._network.forget)
            raise EngineError("MLX failed while answering", detail=str(error)) from error

    def close(self) -> None:
        """Free the model."""
        self._submit(self._network.close).result()
        self._thread.shutdown()

    def _answer(
        self, prompt: list[int], allowance: limits.Allowance, request: GenerateRequest, held: guide.Guide | None
    ) -> Iterator[Chunk]:
        network = self._network
        began = perf_counter()
        cached_tokens = _wait(self._submit(network.keep_common, prompt), request.cancelled) or 0
        if not self._read(prompt, cached_tokens, request.cancelled):
            yield Finished("cancelled", Usage(len(prompt), 0, cached_tokens))
            return
        self._submit(network.begin, prompt, DeviceSampler(request.sampling, prompt), held)
        decoder, stop = self._make_decoder(request.special), StopFilter(request.stop)
        generated, first_at, last_at = 0, began, began
        reason: FinishReason | None = None
        while reason is None:
            token = self._submit(network.take, self._ends, last=generated + 1 == allowance.tokens).result()
            generated, last_at = generated + 1, perf_counter()
            first_at = last_at if generated == 1 else first_at
            if token not in self._ends and (text := stop.feed(decoder.feed(token))):
                yield Piece(text)
            reason = self._find_end(token, generated, stop, allowance, request)
        if rest := stop.flush():
            yield Piece(rest)
        yield Finished(reason, Usage(len(prompt), generated, cached_tokens), first_at - began, last_at - first_at)

    def _read(self, prompt: list[int], begin: int, cancelled: Callable[[], bool]) -> bool:
        """Read the prompt but for its last token; whether it came to that before a cancel."""
        end = len(prompt) - 1
        for at in range(begin, end, MLX_PREFILL_TOKENS):
            chunk = prompt[at : min(at + MLX_PREFILL_TOKENS, end)]
            if cancelled() or not _wait(self._submit(self._network.read, chunk), cancelled):
                return False
        return not cancelled()

    def _find_end(
        self, token: int, generated: int, stop: StopFilter, allowance: limits.Allowance, request: GenerateRequest
    ) -> FinishReason | None:
        if token in self._ends or stop.matched:
            return "stop"
        if generated == allowance.tokens:
            return allowance.finish_reason
        return "cancelled" if request.cancelled() else None

    def _submit(self, work: Callable[..., _Result], *given: Any, **named: Any) -> Future[_Result]:
        """Have something done in the model's own thread, after all that it was given before."""
        return self._thread.submit(work, *given, **named)

    def _tokenize_prompt(self, text: str) -> list[int]:
        """Token ids with the model's own first token, once, whether or not its template wrote it."""
        tokens = self.tokenize(text)
        return begin_with(self._bos, tokens)

    def _find_added_bos(self) -> list[int]:
        """The token that belongs before every text, if one does: by its configuration, else as the tokenizer does."""
        bos = self._tokenizer.token_to_id(self._folder.bos_token)
        added = self._tokenizer.encode("").ids[:1] == [bos]
        wanted = added if self._folder.adds_bos is None else self._folder.adds_bos
        return [bos] if wanted and bos is not None else []

    def _make_decoder(self, special: Sequence[str]) -> Decoder:
        table = self._folder.token_bytes
        plain: Decoder = _TokenizerDecoder(self._tokenizer) if table is None else ByteDecoder(table)
        return show_special(plain, special, self.tokenize)


class _Network:
    """The model and its keys and values, with the tokens that they belong to. Lives in one thread."""

    def __init__(self, path: Path, options: LoadOptions) -> None:
        from mlx_lm import __version__, utils
        from mlx_lm.models import cache

        self._mx = _import_core()
        self._caches: Any = cache
        self.version: str = __version__
        on_gpu = options.placement in GPU_PLACEMENTS
        self.device = f"Metal: {_find_device_name(self._mx)}" if on_gpu else "CPU"
        self._mx.set_default_device(self._mx.gpu if on_gpu else self._mx.cpu)
        self._mx.set_cache_limit(FREED_BYTES)
        if options.memory_bytes is not None:
            self._mx.set_memory_limit(options.memory_bytes)
        if on_gpu:
            utils.maybe_set_recommended_wired_limit()
        self._model: Any
        self._model, _ = utils.load_model(path, trust_remote_code=False)
        self._bits = CACHE_BITS[options.cache]
        self.forget()
        self._prove()

    def forget(self) -> None:
        """Begin with an empty cache."""
        self._cache = self._make_cache()
        self._tokens: list[int] = []
        self._sampler: DeviceSampler | None = None
        self._guide: guide.Guide | None = None
        self._pending: Any = None

    def keep_common(self, prompt: Sequence[int]) -> int:
        """Forget all but what `prompt` begins with, less its last token, which is read again for its logits.

        Recurrent states, and windows that are full, cannot be turned back: there all is forgotten.
        """
        common = 0
        for ours, theirs in zip(self._tokens, prompt[:-1], strict=False):
            if ours != theirs:
                break
            common += 1
        surplus = len(self._tokens) - common
        if surplus and not self._caches.can_trim_prompt_cache(self._cache):
            self.forget()
            return 0
        self._caches.trim_prompt_cache(self._cache, surplus)
        del self._tokens[common:]
        return common

    def read(self, tokens: list[int]) -> bool:
        """Compute the keys and values of some tokens, not their logits; always true."""
        try:
            self._compute(self._mx.array(tokens))
            self._mx.eval([one.state for one in self._cache])
        except Exception:
            self.forget()  # by itself, for after a cancel nobody hears of the failure
            raise
        self._tokens += tokens
        return True

    def begin(self, prompt: list[int], sampler: DeviceSampler, held: guide.Guide | None) -> None:
        """Queue the first token of an answer, held to a constraint or free."""
        self._sampler, self._guide = sampler, held
        self._queue(self._mx.array(prompt[-1:]))
        self._tokens += prompt[-1:]

    def take(self, ends: Container[int | None], *, last: bool) -> int:
        """The token that was queued; the one after it is queued first, unless this is the last.

        Under a constraint it is queued after: what may follow depends on what came.

        Raises:
            EngineError: the logits are no numbers: weights or activations went out of range.
            ConstraintError: the constraint has become too much for the guide.
        """
        pending = self._pending
        if not last and self._guide is None:
            self._queue(pending)
        token = int(pending.item())
        if token == NOT_A_NUMBER:
            self.forget()
            raise EngineError("The model computed something that is not a number")
        last = last or (self._guide is not None and token in ends)
        if not last and self._guide is not None:
            self._guide.note(token)
            self._queue(pending)
        if not last:
            self._tokens.append(token)
        return token

    def close(self) -> None:
        """Give the memory back."""
        del self._model, self._cache, self._pending, self._sampler
        gc.collect()
        self._mx.clear_cache()

    def _queue(self, tokens: Any) -> None:
        assert self._sampler is not None  # noqa: S101 - set by `begin`
        allowed = None if self._guide is None else self._mx.array(self._guide.find_allowed())
        self._pending = self._sampler.draw(self._compute(tokens)[0, -1], allowed)
        self._mx.async_eval(self._pending)

    def _compute(self, tokens: Any) -> Any:
        return self._model(tokens[None], cache=self._cache)

    def _make_cache(self) -> list[Any]:
        """Keys and values in few bits where that is asked for; MLX can do so but for windows and recurrent states."""
        made: list[Any] = self._caches.make_prompt_cache(self._model)
        if self._bits is None:
            return made
        plain = self._caches.KVCache
        return [one.to_quantized(CACHE_GROUP, self._bits) if type(one) is plain else one for one in made]

    def _prove(self) -> None:
        """Compute one token: some architectures lack kernels, and heads of some widths a cache in few bits."""
        try:
            logits = self._compute(self._mx.array([0]))
            self._mx.eval(logits)
            self.vocabulary_size = int(logits.shape[-1])
            few_bits = any(isinstance(one, self._caches.QuantizedKVCache) for one in self._cache)
        except ValueError as error:
            if self._bits is None:
                raise
            raise self._refuse_bits(str(error)) from error
        if self._bits is not None and not few_bits:
            raise self._refuse_bits("all of its layers have a window or a state")
        self.forget()

    def _refuse_bits(self, reason: str) -> EngineError:
        message = f"MLX cannot keep keys and values of this model in {self._bits} bits"
        return EngineError(message, detail=reason, hint="Leave out `--kv-cache`")


class _TokenizerDecoder:
    """The tokenizer's own stream, for ways of decoding that we do not know."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        return self._stream.step(self._tokenizer, token) or ""


def _wait(future: Future[_Result], cancelled: Callable[[], bool]) -> _Result | None:
    """What it gives, or `None` when a cancel came first."""
    while not cancelled():
        try:
            return future.result(timeout=POLL_S)
        except TimeoutError:
            continue
    return None


def _open_tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise ModelFileError(f"{path.name} is no tokenizer", detail=str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _import_core() -> Any:
    """MLX itself. Its stubs are there only where it is, so its types are left out everywhere alike."""
    import mlx.core

    return mlx.core


def _find_device_name(mx: Any) -> str:
    return str(mx.device_info().get("device_name", "GPU"))


def _translate(error: Exception, path: Path) -> LfError:
    if isinstance(error, LfError):
        return error
    words = str(error).strip() or type(error).__name__
    if DAMAGED.search(words):
        return ModelFileError(f"The weights of {path.name} are damaged or incomplete", detail=words)
    return EngineError(f"mlx-lm could not load {path.name}", detail=f"{type(error).__name__}: {words}")
