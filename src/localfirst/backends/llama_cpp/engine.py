"""One model with one context in llama.cpp's C API: loading, tokens, computing, drawing. Knows no request.

Computing releases Python's lock. Whoever calls is the only one: nothing here is locked.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from localfirst.backends.llama_cpp import amx, api, dry_run
from localfirst.backends.llama_cpp.options import CACHE_TYPES, SEEDS
from localfirst.choices import LLAMA_BATCH_TOKENS, PENALTY_WINDOW
from localfirst.conversation import PENALTIES, find_lacking
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.backends.base import LoadOptions
    from localfirst.backends.guide import Guide
    from localfirst.backends.llama_cpp.dry_run import Footprint
    from localfirst.conversation import Sampling

SLOW_S = 0.1
"""A step that took longer is watched for a cancel while it computes; for faster ones watching costs more than it
helps."""
SCORED_TOKENS = 64
"""Tokens whose logits are there at the same time: of a vocabulary of 250,000 they take 64 MB."""
ABORTED = 2
"""What `llama_decode` returns when its abort callback said so."""


class LlamaEngine:
    """A model in memory, and what it has read. Token ids are plain integers."""

    def __init__(self, path: str, context_tokens: int, options: LoadOptions) -> None:
        """Plan every buffer, refuse what does not fit, then load.

        Raises:
            NoFitError: it needs more than `options.budget_bytes`, computed on the CPU.
            EngineError: llama.cpp refuses the file; its words are in the detail.
        """
        self._library = api.load_library()
        self._path, self._options = path, options
        footprint = self._plan(context_tokens, options)
        if options.placement == "cpu":  # of a device's memory the CPU's share is not told apart in that plan
            dry_run.require_fit(footprint, options.budget_bytes, context_tokens, Path(path).name)
        self.footprint = footprint
        self._model, self._context, _ = self._open(context_tokens, options, dry=False)
        self._vocabulary = self._library.llama_model_get_vocab(self._model)
        self._memory = self._library.llama_get_memory(self._context)
        self.vocabulary_size: int = self._library.llama_vocab_n_tokens(self._vocabulary)
        self._window_tokens: int = self._library.llama_model_n_swa(self._model)
        recurs = self._library.llama_model_is_recurrent(self._model) or self._library.llama_model_is_hybrid(self._model)
        self.needs_copies = bool(self._window_tokens or recurs)
        """Whether its cache cannot always be cut back."""
        self.batch_tokens = find_batch_tokens(context_tokens, options)
        self._tokens = (self._library.llama_token * self.batch_tokens)()
        self._cancelled: Callable[[], bool] = bool
        self._watch = self._library.ggml_abort_callback(lambda _: self._cancelled())
        self._blind = self._library.ggml_abort_callback()
        self._slow = False

    def close(self) -> None:
        """Free the model."""
        self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        """Token ids of a text, special tokens parsed; with `add_special` also what the file wants around each."""
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 8  # a token has at least one byte, but for a space that some tokenizers put before all
        tokens = (self._library.llama_token * size)()
        count = self._library.llama_tokenize(self._vocabulary, raw, len(raw), tokens, size, add_special, True)
        if count < 0:
            raise EngineError("llama.cpp could not tokenize the prompt", detail=f"{len(raw)} bytes, {count}")
        return list(tokens[:count])

    def find_first(self) -> list[int]:
        """The token that the file wants before every prompt (`tokenizer.ggml.add_bos_token`), if it wants one."""
        wanted = self._library.llama_vocab_get_add_bos(self._vocabulary)
        return [self._library.llama_vocab_bos(self._vocabulary)] if wanted else []

    def find_special(self) -> tuple[str, str]:
        """The texts of the tokens that begin and end a text; empty where there is none."""
        library, vocabulary = self._library, self._vocabulary
        ends = (library.llama_vocab_bos(vocabulary), library.llama_vocab_eos(vocabulary))
        first, last = (self.spell(token, special=True).decode(errors="replace") if token >= 0 else "" for token in ends)
        return first, last

    def spell(self, token: int, *, special: bool = False) -> bytes:
        """The bytes that a token stands for; of a special one none, unless asked for."""
        size = 64
        while True:
            room = ctypes.create_string_buffer(size)
            count = self._library.llama_token_to_piece(self._vocabulary, token, room, size, 0, special)
            if count >= 0:
                return room.raw[:count]
            size = -count

    def name(self, token: int) -> bytes:
        """The bytes that a token stands for; of a special one those of its name."""
        return self.spell(token) or self.spell(token, special=True)

    def copy_logits(self) -> Any:
        """An array of one logit for each token of the vocabulary, after the last token that was read."""
        import numpy as np

        logits = self._library.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, (self.vocabulary_size,)).copy()

    def list_ends(self) -> list[int]:
        """The tokens that end an answer."""
        return [token for token in range(self.vocabulary_size) if self.is_end(token)]

    def spell_all(self) -> tuple[list[bytes], list[int]]:
        """The bytes of every token, as they are written out, and which of them are special: those have a name instead.

        For 150,000 tokens it takes a third of a second.
        """
        tokens = [self.spell(token) for token in range(self.vocabulary_size)]
        special = {token: self.spell(token, special=True) for token, text in enumerate(tokens) if not text}
        for token, name in special.items():
            tokens[token] = name
        return tokens, [token for token, name in special.items() if name]

    def is_end(self, token: int) -> bool:
        """Whether a token ends an answer."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def read(self, tokens: Sequence[int], cancelled: Callable[[], bool]) -> bool:
        """Compute keys, values and the logits after the last of some more tokens, no more than are computed at once.

        Returns:
            False where it was cancelled meanwhile; how much of it is in the cache then is not known.

        Raises:
            EngineError: it failed.
        """
        library = self._library
        self._tokens[: len(tokens)] = tokens
        watched = len(tokens) > 1 or self._slow
        self._cancelled = cancelled
        library.llama_set_abort_callback(self._context, self._watch if watched else self._blind, None)
        began = perf_counter()
        done = self._decode(self._context, library.llama_batch_get_one(self._tokens, len(tokens)))
        if len(tokens) == 1:
            self._slow = perf_counter() - began > SLOW_S
        return done

    def _decode(self, context: Any, batch: Any) -> bool:
        """Compute a batch; `False` where it was cancelled.

        Raises:
            EngineError: it failed.
        """
        outcome = self._library.llama_decode(context, batch)
        if outcome not in {0, ABORTED}:
            raise EngineError("llama.cpp failed while computing", detail=f"llama_decode returned {outcome}")
        return bool(outcome == 0)

    def read_each(self, tokens: Sequence[int], take: Callable[[Any], None], cancelled: Callable[[], bool]) -> bool:
        """Compute a text in a context of its own, and give `take` the logits after each token, some rows at a time.

        The context is there only meanwhile: room for the logits of many tokens would take from every other model.

        Returns:
            False where it was cancelled.

        Raises:
            EngineError: it failed, or there is no memory for a second context.
        """
        import numpy as np

        library = self._library
        params = self._make_context_params(len(tokens), self._options)
        params.n_batch = params.n_ubatch = params.n_outputs_max = SCORED_TOKENS
        context = library.llama_init_from_model(self._model, params)
        if not context:
            raise EngineError("llama.cpp could not make a second context", detail=f"of {len(tokens)} tokens")
        batch = library.llama_batch_init(SCORED_TOKENS, 0, 1)
        try:
            self._cancelled = cancelled
            library.llama_set_abort_callback(context, self._watch, None)
            for begin in range(0, len(tokens), SCORED_TOKENS):
                count = _fill(batch, tokens[begin : begin + SCORED_TOKENS], begin)
                if cancelled() or not self._decode(context, batch):
                    return False
                take(np.ctypeslib.as_array(library.llama_get_logits(context), (count, self.vocabulary_size)))
        finally:
            library.llama_batch_free(batch)
            library.llama_free(context)
        return True

    def embed(self, tokens: Sequence[int], cancelled: Callable[[], bool]) -> list[float] | None:
        """The vector of a text, of any length; `None` where it was cancelled.

        Raises:
            EngineError: it failed.
        """
        self.forget()
        for begin in range(0, len(tokens), self.batch_tokens):
            if cancelled() or not self.read(tokens[begin : begin + self.batch_tokens], cancelled):
                return None
        size = self._library.llama_model_n_embd_out(self._model)
        vector: list[float] = self._library.llama_get_embeddings_seq(self._context, 0)[:size]
        return vector

    def cut(self, length: int) -> bool:
        """Forget all but the first `length` tokens; `False` where it cannot, and nothing has changed.

        A recurrent state cannot be cut back, and of a sliding window what lies before it is gone.
        """
        oldest = self._library.llama_memory_seq_pos_min(self._memory, 0)
        if self._window_tokens and oldest > max(0, length - self._window_tokens):
            return False
        return bool(self._library.llama_memory_seq_rm(self._memory, 0, length, -1))

    def forget(self) -> None:
        """Forget everything."""
        self._library.llama_memory_seq_rm(self._memory, 0, -1, -1)

    def save(self) -> Any:
        """A copy of what cannot be cut back: recurrent states and sliding windows."""
        library, flags = self._library, self._library.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        size = library.llama_state_seq_get_size_ext(self._context, 0, flags)
        copy = (ctypes.c_uint8 * size)()
        library.llama_state_seq_get_data_ext(self._context, copy, size, 0, flags)
        return copy

    def restore(self, copy: Any, length: int) -> bool:
        """Go back to where a copy was made, after `length` tokens; `False` where the engine does not take it."""
        library, flags = self._library, self._library.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        if not library.llama_state_seq_set_data_ext(self._context, copy, len(copy), 0, flags):
            return False
        return bool(library.llama_memory_seq_rm(self._memory, 0, length, -1))

    def make_sampler(self, sampling: Sampling, prompt: Sequence[int]) -> Sampler:
        """What draws the tokens of one answer."""
        return Sampler(self._library, self._context, self._vocabulary, sampling, prompt)

    def _plan(self, context_tokens: int, options: LoadOptions) -> Footprint:
        model, context, log = self._open(context_tokens, options, dry=True)
        footprint = dry_run.parse_footprint(self._library.llama_model_size(model), log)
        self._library.llama_free(context)
        self._library.llama_model_free(model)
        return footprint

    def _open(self, context_tokens: int, options: LoadOptions, *, dry: bool) -> tuple[Any, Any, list[str]]:
        """The model, its context, and what llama.cpp said meanwhile; with `dry` nothing is allocated."""
        library = self._library
        with api.LOG.heard() as heard:
            model = library.llama_model_load_from_file(self._path.encode(), self._make_model_params(options, dry=dry))
            params = self._make_context_params(context_tokens, options)
            context = library.llama_init_from_model(model, params) if model else None
        if context:
            return model, context, [text for _, text in heard]
        if model:
            library.llama_model_free(model)
        reason = next((text for level, text in heard if level >= api.ERROR), None)
        words = reason.strip().removeprefix("llama_model_load: ") if reason else None
        raise EngineError(f"llama.cpp could not load {Path(self._path).name}", detail=words)

    def _make_model_params(self, options: LoadOptions, *, dry: bool) -> Any:
        library = self._library
        params = library.llama_model_default_params()
        params.n_gpu_layers = count_gpu_layers(options)
        params.use_extra_bufts = not amx.has_broken_tiles(api.describe_system(), api.read_processor_code())
        if dry:
            params.no_alloc, params.load_mode = True, library.LLAMA_LOAD_MODE_NONE
        return params

    def _make_context_params(self, context_tokens: int, options: LoadOptions) -> Any:
        library = self._library
        params = library.llama_context_default_params()
        params.n_ctx = context_tokens
        params.n_batch = params.n_ubatch = find_batch_tokens(context_tokens, options)
        params.n_seq_max = params.n_outputs_max = 1
        if options.pooling is not None:
            params.embeddings = True
            params.pooling_type = getattr(library, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")
            params.n_outputs_max = params.n_batch
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.type_k = params.type_v = getattr(library, CACHE_TYPES[options.cache])
        params.offload_kqv = params.op_offload = options.placement != "cpu"
        params.swa_full = False  # by default the whole context, four times as much for Gemma 3
        params.no_perf = True
        return params


def _fill(batch: Any, tokens: Sequence[int], begin: int) -> int:
    """Put tokens into a batch, each with its logits wanted."""
    batch.n_tokens = len(tokens)
    for place, token in enumerate(tokens):
        batch.token[place], batch.pos[place] = token, begin + place
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        batch.logits[place] = 1
    return len(tokens)


def find_batch_tokens(context_tokens: int, options: LoadOptions) -> int:
    """Tokens computed at once: a text in one piece, but for one whose last token stands for it."""
    whole = options.pooling not in {None, "last"}
    return context_tokens if whole else options.batch_tokens or LLAMA_BATCH_TOKENS


def count_gpu_layers(options: LoadOptions) -> int:
    """In llama.cpp's words, where -1 means all of them."""
    if options.placement == "cpu":
        return 0
    return -1 if options.device_layers is None else options.device_layers


class Sampler:
    """llama.cpp's own chain of samplers, in the order in which its server has them."""

    def __init__(self, library: Any, context: Any, vocabulary: Any, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._library, self._context, self._vocabulary = library, context, vocabulary
        self._chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        size: int = library.llama_vocab_n_tokens(vocabulary)
        for sampler in self._make(sampling, vocabulary, size):
            library.llama_sampler_chain_add(self._chain, sampler)
        for token in prompt[-PENALTY_WINDOW:]:
            library.llama_sampler_accept(self._chain, token)

    def draw(self) -> int:
        """The next token, after the last one that was read."""
        return int(self._library.llama_sampler_sample(self._chain, self._context, -1))

    def draw_held(self, held: Guide) -> int:
        """The next token, of those that a guide allows: all else is forbidden before the chain draws as ever.

        Raises:
            EngineError: none of them could be drawn.
            ConstraintError: the constraint has become too much for the guide.
        """
        import numpy as np

        allowed = held.find_allowed()
        logits = np.ctypeslib.as_array(self._library.llama_get_logits_ith(self._context, -1), allowed.shape)
        logits[~allowed] = -math.inf
        token = self.draw()
        if not np.isfinite(logits[token]):  # none is, or the file never wants those drawn that are allowed
            raise EngineError("The model has no token left that the constraint allows", detail=f"drawn: {token}")
        if not self._library.llama_vocab_is_eog(self._vocabulary, token):
            held.note(token)
        return token

    def close(self) -> None:
        """Free it."""
        self._library.llama_sampler_free(self._chain)

    def _make(self, sampling: Sampling, vocabulary: Any, size: int) -> list[Any]:
        """What is not asked for is off; tokens that the file says are never to be drawn are not."""
        library = self._library
        seed = SEEDS if sampling.seed is None else sampling.seed % SEEDS
        return [
            *self._bias(sampling.logit_bias, size),
            *self._bias([(token, -math.inf) for token in self._list_suppressed(vocabulary)], size),
            *self._penalize(sampling, size),
            library.llama_sampler_init_top_k(1 if sampling.temperature <= 0 else sampling.top_k or 0),
            library.llama_sampler_init_top_p(1.0 if sampling.top_p is None else sampling.top_p, 1),
            library.llama_sampler_init_min_p(sampling.min_p or 0.0, 1),
            library.llama_sampler_init_temp(sampling.temperature),
            library.llama_sampler_init_dist(seed),
        ]

    def _list_suppressed(self, vocabulary: Any) -> list[int]:
        count = ctypes.c_int32()
        tokens = self._library.llama_vocab_get_suppress_tokens(vocabulary, ctypes.byref(count))
        return list(tokens[: count.value]) if count.value else []

    def _bias(self, biases: Sequence[tuple[int, float]], size: int) -> list[Any]:
        if not biases:
            return []
        told = (self._library.llama_logit_bias * len(biases))()
        for one, (token, bias) in zip(told, biases, strict=True):
            one.token, one.bias = token, bias
        return [self._library.llama_sampler_init_logit_bias(size, len(biases), told)]

    def _penalize(self, sampling: Sampling, size: int) -> list[Any]:
        if find_lacking(sampling, PENALTIES) is None:
            return []
        how = (sampling.repetition_penalty or 1.0, sampling.frequency_penalty or 0.0, sampling.presence_penalty or 0.0)
        return [self._library.llama_sampler_init_penalties(size, PENALTY_WINDOW, *how)]
