"""The part of LiteRT-LM that we drive: an engine, and a session that reads text and answers. Knows no request.

The Python package is a thin layer over a C library. What it leaves out (going back in a session, and the reason of a
failure) is called in that library, whose functions are public: google-ai-edge/LiteRT-LM, `c/engine.h`.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

CANCELLED = "CANCELLED"
FULL = "Max number of tokens reached"
"""What the engine calls the end of an answer that filled the context."""


class Options(NamedTuple):
    """What a session is made with, for as long as it lives."""

    top_k: int
    top_p: float
    temperature: float
    max_tokens: int


class Engine:
    """A loaded model."""

    def __init__(self, path: str, context_tokens: int, threads: int) -> None:
        """Load it on the CPU, with packed weights in memory: else they lie beside the model, or once for each graph.

        Raises:
            EngineError: the engine refuses it.
        """
        import litert_lm
        from litert_lm import _ffi

        litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
        backend = litert_lm.Backend.CPU(thread_count=threads)
        self._library = _declare(_ffi._get_lib())  # noqa: SLF001 - the package has no other way to its library
        self._engine = self.call(
            f"could not load {Path(path).name}",
            lambda: litert_lm.Engine(
                path,
                backend=backend,
                max_num_tokens=context_tokens,
                cache_dir=":memory",
                enable_benchmark=True,  # counts tokens
            ),
        )

    def call(self, what: str, function: Callable[[], Any]) -> Any:
        """The result of a function of the engine.

        Raises:
            EngineError: it failed; the reason is in the detail, where the package's own exceptions have none.
        """
        self._library.litert_lm_clear_last_error()
        try:
            return function()
        except (RuntimeError, ValueError) as error:
            reason = (self._library.litert_lm_get_last_error_message() or b"").decode("utf-8", "replace")
            raise EngineError(f"LiteRT-LM {what}", detail=_find_words(reason or str(error))) from error

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        tokens: list[int] = self.call("could not tokenize a text", lambda: self._engine.tokenize(text)) if text else []
        return tokens

    def find_text(self, tokens: list[int]) -> str | None:
        """The text of just these tokens, or `None` where there is none: they part a character, or a word."""
        text: str = self.call("could not write tokens as text", lambda: self._engine.detokenize(tokens))
        return text if self.tokenize(text) == tokens else None

    def name_token(self, token: int) -> str:
        """A special token's text."""
        return self.find_text([token]) or ""

    def start(self, options: Options, seed: int) -> Session:
        """A new session, with nothing read."""
        import litert_lm

        sampler = litert_lm.SamplerConfig(options.top_k, options.top_p, options.temperature, seed)
        session = self.call(
            "could not start a session",
            lambda: self._engine.create_session(
                apply_prompt_template=False, sampler_config=sampler, max_output_tokens=options.max_tokens
            ),
        )
        return Session(self, self._library, session)

    def close(self) -> None:
        """Free the model."""
        self._engine.close()


class Session:
    """Reads texts one after the other, and answers. Its sampler goes on where it was with every answer."""

    def __init__(self, engine: Engine, library: Any, session: Any) -> None:
        self._engine, self._library, self._session = engine, library, session

    def rewind(self, tokens: int) -> None:
        """Forget all but the first tokens."""
        pointer = self._session._ptr  # noqa: SLF001 - as above
        self._engine.call(
            "could not go back", lambda: _check(self._library.litert_lm_session_rewind_to_step(pointer, tokens))
        )

    def read(self, text: str) -> None:
        """Compute the keys and values of a text. At the very beginning the model's first token is put before it."""
        self._engine.call("could not read the prompt", lambda: self._session.run_prefill([text]))

    def score(self, text: str) -> list[float]:
        """The logarithms of how likely each token of a text is after what was read, each after those before it.

        Raises:
            EngineError: the engine failed.
        """
        told = self._engine.call(
            "could not score a text", lambda: self._session.run_text_scoring([text], store_token_lengths=True)
        )
        scores: list[float] = list(told.token_scores[0])
        return scores

    def answer(self, take: Callable[[str], None]) -> bool:
        """Draw tokens until the end, and give each text to `take`, from a thread of the engine's.

        The engine waits for `take`, so that what is cancelled in there ends with the next token. Whether it was
        cancelled is returned.

        Raises:
            EngineError: the engine failed.
        """
        from litert_lm import _ffi

        library, ended, failures = self._library, threading.Event(), list[str]()

        def accept(_: object, chunk: Any) -> None:
            if text := library.litert_lm_stream_chunk_get_text(chunk):
                take(text.decode("utf-8", "replace"))
            elif (failure := library.litert_lm_stream_chunk_get_error(chunk)) is not None:
                failures.append(failure.decode("utf-8", "replace"))
                ended.set()
            if library.litert_lm_stream_chunk_is_final(chunk):
                ended.set()

        callback = _ffi.STREAM_CALLBACK_TYPE(accept)
        pointer = self._session._ptr  # noqa: SLF001 - as above
        run = library.litert_lm_session_run_decode_async
        self._engine.call("could not answer", lambda: _check(run(pointer, callback, None)))
        ended.wait()
        failure = "".join(failures)
        if failure and CANCELLED not in failure and FULL not in failure:
            raise EngineError("LiteRT-LM failed while answering", detail=failure)
        return CANCELLED in failure

    def cancel(self) -> None:
        """End the answer that is being drawn, one token later."""
        self._session.cancel_process()

    def count_answer(self) -> int:
        """Tokens drawn by the last answer."""
        count: int = self._session.get_benchmark_info().last_decode_token_count
        return count

    def close(self) -> None:
        """Free its keys and values."""
        self._session.close()


def _find_words(reason: str) -> str:
    """The last line: those before it are the places in its sources that the failure came through."""
    return reason.strip().splitlines()[-1].lstrip("└ ")


def _declare(library: Any) -> Any:
    library.litert_lm_session_rewind_to_step.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.litert_lm_session_rewind_to_step.restype = ctypes.c_int
    library.litert_lm_get_last_error_message.restype = ctypes.c_char_p
    return library


def _check(status: int) -> None:
    """Turn the library's way of failing into Python's."""
    if status != 0:
        raise RuntimeError(f"status {status}")
