"""Starts llama.cpp's server inside this process, the way xllamacpp offers it, and closes what it leaves open.

xllamacpp always listens for HTTP, by default on a TCP port without a key and with CORS for every origin, which any web
page could use. Here it listens on a Unix socket in a folder that only this user can enter, with a random key; we use
that way ourselves for the two things the Python class lacks (tokenizing, and what the vocabulary's ends are).
Source: `src/xllamacpp/server.cpp` in xorbitsai/xllamacpp.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from localfirst.backends.llama_cpp.local_http import CancelledError, LocalConnection
from localfirst.backends.llama_cpp.options import CACHE_TYPES
from localfirst.backends.llama_cpp.place import SocketPlace
from localfirst.choices import CONTEXT_STEP_TOKENS, LLAMA_BATCH_TOKENS, LLAMA_CHECKPOINTS
from localfirst.errors import DeviceError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.backends.base import LoadOptions
    from localfirst.types import Pooling

DRAFT_TOKENS = 8
"""The most that a draft guesses at once."""
VERBOSITY = 1
"""Errors only."""
PLACEMENTS = {
    "GGML_BACKEND_DEVICE_TYPE_CPU": ("cpu",),
    "GGML_BACKEND_DEVICE_TYPE_GPU": ("gpu", "igpu"),
    "GGML_BACKEND_DEVICE_TYPE_IGPU": ("gpu", "igpu"),
}
"""What a device may serve; ggml calls Apple's integrated GPUs plain GPUs."""
LOG_S = 2.0
"""How long to wait for the reason of a failure in the engine's log."""
POOLINGS = {"mean": "MEAN", "cls": "CLS", "last": "LAST"}
_CAPTURE = threading.Lock()
"""There is one standard error, and several requests may fail at the same time."""
_ERROR = re.compile(r" E (?!srv )(.+)")
"""The engine's own words. Its server says only that it ends, and may say so of one attempt in the log of the next."""


class LlamaServer:
    """llama.cpp with one model. `stream` calls back with events; `post` and `get` are for what is not a completion."""

    def __init__(
        self,
        path: str,
        context_tokens: int,
        options: LoadOptions,
        *,
        pooling: Pooling | None = None,
        draft: str | None = None,
    ) -> None:
        """Load a model: to answer, with another one that drafts for it where one is given, or to embed."""
        import xllamacpp

        self.device = _find_device(xllamacpp, options.placement)
        self._place = SocketPlace()
        self._key = secrets.token_urlsafe(32)
        self._kept: list[LocalConnection] = []
        """Connections that nobody uses now: a new one for every prompt would take longer than to tokenize it."""
        params = _make_params(xllamacpp, path, context_tokens, options)
        params.hostnames = [self._place.path]
        params.api_keys = [self._key]
        if pooling is not None:
            _set_embedding(xllamacpp, params, pooling)
        if draft is not None:
            _set_draft(xllamacpp, params, draft)
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            words = _capture_stderr(lambda: self._fail_again(xllamacpp, params))
            self._place.remove()
            raise EngineError(f"llama.cpp could not load {Path(path).name}", detail=find_reason(words)) from error

    def stream(self, body: dict[str, Any], on_event: Callable[[dict[str, Any]], bool]) -> None:
        """Run a completion; `on_event` returns whether to stop. Blocks without holding Python's lock."""
        self._server.handle_completions(body | {"stream": True}, on_event)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """A completion as a whole. Blocks without holding Python's lock.

        Raises:
            EngineError: there is none.
        """
        events: list[dict[str, Any]] = []

        def accept(event: dict[str, Any]) -> bool:
            events.append(event)
            return False

        try:
            self._server.handle_completions(body | {"stream": False}, accept)
        except RuntimeError as error:
            raise EngineError("llama.cpp failed while computing", detail=str(error)) from error
        if not events or (failure := events[0].get("error")) is not None:
            raise EngineError("llama.cpp failed while computing", detail=str(failure if events else "no answer"))
        return events[0]

    def get(self, route: str) -> dict[str, Any]:
        """The answer of a route that takes no body."""
        return self._request("GET", route, None)

    def post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of a route."""
        return self._request("POST", route, body)

    def embed(self, prompts: list[list[int]], cancelled: Callable[[], bool]) -> list[list[float]]:
        """The vectors of texts, as their token ids; none where it was cancelled.

        The engine sees that nobody waits any more when it is done with a text.
        """
        try:
            answer = self._request("POST", "/v1/embeddings", {"input": prompts}, cancelled)
        except CancelledError:
            return []
        return [item["embedding"] for item in answer["data"]]

    def close(self) -> None:
        """Free the model. No completion may be running: the engine would wait for it while holding Python's lock.

        It would wait for ever, too, if its loop had not begun yet, since the loop forgets at its beginning that it was
        told to end. The list of adapters comes from that loop: once it is there, the loop runs.
        Source: llama.cpp, `tools/server/server-queue.cpp`, `start_loop` and `terminate`.
        """
        with suppress(OSError, EngineError):  # it has crashed: there is no loop to wait for
            self.get("/lora-adapters")
        for kept in self._kept:
            kept.close()
        self._server = None
        self._place.remove()

    def overhear(self, failing: Callable[[], None]) -> str:
        """What the engine writes while `failing`, which has failed before, is repeated."""
        return _capture_stderr(failing)

    def _fail_again(self, xllamacpp: Any, params: Any) -> None:
        self._place.clear()
        try:
            xllamacpp.Server(params)
        except RuntimeError:
            return

    def _request(
        self, method: str, route: str, body: dict[str, Any] | None, cancelled: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        """One request; one that can be cancelled may take any time."""
        connection = self._connect()
        try:
            status, text = connection.ask(method, route, b"" if body is None else json.dumps(body).encode(), cancelled)
            answer: dict[str, Any] = json.loads(text)
        except BaseException:
            connection.close()
            raise
        if connection.stays:
            self._kept.append(connection)
        else:
            connection.close()
        if status != HTTPStatus.OK:
            raise EngineError("llama.cpp refused a request", detail=f"{route}: {answer}")
        return answer

    def _connect(self) -> LocalConnection:
        """A connection, kept or new; of those kept, none that the engine has closed meanwhile."""
        with suppress(IndexError):  # several threads may take one
            while (kept := self._kept.pop()) is not None:
                if not kept.has_input(0):
                    return kept
                kept.close()
        return LocalConnection(self._place.path, self._key)


def _find_device(xllamacpp: Any, placement: str) -> str:
    """The engine's name of the device that a placement means.

    Raises:
        DeviceError: this build of the engine has no such device.
    """
    devices: dict[str, str] = {device["name"]: device["type"].name for device in xllamacpp.get_device_info()}
    for name, kind in devices.items():
        if placement in PLACEMENTS.get(kind, ()):
            return name
    found = "\n".join(f"{name}: {kind}" for name, kind in devices.items())
    raise DeviceError(f"This build of llama.cpp has no device of kind `{placement}`", detail=found)


def _make_params(xllamacpp: Any, path: str, context_tokens: int, options: LoadOptions) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = path
    # each sequence has cells of its own, and as many: llama.cpp divides what is asked for, and rounds a share up
    params.n_ctx = context_tokens if options.requests == 1 else options.requests * _pad(context_tokens)
    params.n_parallel = options.requests
    params.kv_unified = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.n_batch = params.n_ubatch = options.batch_tokens or LLAMA_BATCH_TOKENS
    params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, CACHE_TYPES[options.cache])
    params.n_gpu_layers = _count_gpu_layers(options)
    params.no_kv_offload = params.no_op_offload = options.placement == "cpu"
    params.swa_full = False
    params.n_ctx_checkpoints = LLAMA_CHECKPOINTS
    params.fit_params = False  # the plan has decided; llama.cpp's own fitting loads the model twice
    params.cache_ram_mib = 0  # by default up to 8 GiB of old prompts
    params.cache_idle_slots = False  # needs the cache above
    params.warmup = False  # it would read all weights before anything was asked
    params.chat_template = "chatml"  # never used; else the file's own runs at load, and may never end
    params.ui = params.endpoint_slots = False
    params.cors_origins = ""
    params.verbosity = VERBOSITY
    return params


def _set_embedding(xllamacpp: Any, params: Any, pooling: Pooling) -> None:
    """Compute vectors. A text whose last token stands for it is read in parts, any other in one piece."""
    params.embedding = True
    params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{POOLINGS[pooling]}")
    if pooling != "last":
        params.n_batch = params.n_ubatch = params.n_ctx


def _set_draft(xllamacpp: Any, params: Any, path: str) -> None:
    """Let another model guess, on the same device."""
    drafting = params.speculative
    drafting.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    drafting.draft.mparams.path = path
    drafting.draft.n_max = DRAFT_TOKENS
    drafting.draft.n_gpu_layers = params.n_gpu_layers if params.n_gpu_layers == 0 else -1
    drafting.draft.cpuparams.n_threads = drafting.draft.cpuparams_batch.n_threads = params.cpuparams.n_threads


def _pad(tokens: int) -> int:
    return -(-tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS


def _count_gpu_layers(options: LoadOptions) -> int:
    """In llama.cpp's words, where -1 means all of them."""
    if options.placement == "cpu":
        return 0
    return -1 if options.device_layers is None else options.device_layers


def _capture_stderr(action: Callable[[], None]) -> str:
    """What native code writes to standard error while `action` runs, and until it has named an error.

    Only used to repeat a failure that is known to be clean: what a crash writes must reach the real log. llama.cpp's
    log is written by a thread of its own, which may be late on a busy machine.
    """
    sys.stderr.flush()
    with _CAPTURE, tempfile.TemporaryFile("a+b") as file:  # appending, wherever it is read meanwhile
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            action()
            deadline = time.monotonic() + LOG_S
            while find_reason(_read(file)) is None and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        return _read(file)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def find_reason(log: str) -> str | None:
    """The first error of llama.cpp's log, without its prefix.

    `0.00.008.370 E llama_model_load: error loading model: error loading model vocabulary: cannot find tokenizer ...`
    """
    error = _ERROR.search(log)
    return error[1].strip().removeprefix("llama_model_load: ") if error else None
