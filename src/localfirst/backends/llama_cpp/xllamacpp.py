"""Runs GGUF files in llama.cpp, by xllamacpp."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst import gguf
from localfirst.backends import constraints, limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Started
from localfirst.backends.llama_cpp import drafts, forced, grammar, likely, options
from localfirst.backends.llama_cpp.gguf_header import find_context, read_header
from localfirst.backends.llama_cpp.server import LlamaServer
from localfirst.backends.llama_cpp.slots import Slots
from localfirst.backends.pace import PACE_S, find_wait_s
from localfirst.backends.text import Pieces, begin_with
from localfirst.choices import LLAMA_BATCH_TOKENS
from localfirst.conversation import MOST_LIKELIEST, Embedding, Usage
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.conversation import Constraint, FinishReason, Scores, Weighed
    from localfirst.errors import ConstraintError
    from localfirst.types import Pooling

POLL_S = 0.05
"""How often a cancel is looked for while the engine is busy."""
MOST_PACE_S = 0.12
"""Nobody waits longer than this for text that is there."""
MANY = 8
"""Requests at a time from which on each of them is woken for less often, so that all together are not more often: 16
that get a token every 40 ms would else be woken twice for each, by it and by the pace."""
GPU_KINDS = ("GGML_BACKEND_DEVICE_TYPE_GPU", "GGML_BACKEND_DEVICE_TYPE_IGPU")


class XllamacppBackend:
    """Loads a GGUF file. The header is read by us first: native code never sees a size that is a lie."""

    def list_devices(self) -> tuple[str, ...]:
        """The GPUs that this build of llama.cpp sees."""
        import xllamacpp

        devices = xllamacpp.get_device_info()
        return tuple(str(device["description"]) for device in devices if device["type"].name in GPU_KINDS)

    def describe_build(self) -> str:
        """Commit, compiler and system as llama.cpp was told when it was built, and the instructions that it uses."""
        import xllamacpp

        facts = ", ".join(f"{name} {value}" for name, value in getattr(xllamacpp, "BUILD_INFO", {}).items())
        return f"{facts}; {xllamacpp.get_system_info()}".strip(" |")

    def load(self, files: ModelFiles, options: LoadOptions) -> LlamaModel:
        """Load a model.

        Raises:
            ModelFileError: the file is missing, damaged, or no GGUF.
            DeviceError: this build of llama.cpp has no such device.
            EngineError: llama.cpp does not load it, e.g. an architecture that it does not know.
        """
        path = Path(files.main)
        header = read_header(path)
        context_tokens = find_context(header, options.context_tokens, path)
        pooling = options.pooling or header.pooling
        if pooling is not None:
            options = replace(options, requests=1)
        if files.draft is not None:
            drafts.check(path, header, Path(files.draft), read_header(Path(files.draft)))
        server = LlamaServer(files.main, context_tokens, options, pooling=pooling, draft=files.draft)
        if pooling == "last":
            context_tokens -= 1  # in which the engine leaves room for a token to come
        return LlamaModel(server, files, header.template, context_tokens, options, pooling)


class LlamaModel:
    """A model in llama.cpp's server loop, which computes the next tokens of all requests together."""

    def __init__(  # noqa: PLR0913, PLR0917 - what was loaded, and how
        self,
        server: LlamaServer,
        files: ModelFiles,
        template: str | None,
        context_tokens: int,
        options: LoadOptions,
        pooling: Pooling | None,
    ) -> None:
        import xllamacpp

        self._server = server
        self._path = Path(files.main)
        self._vocabulary: tuple[bytes, ...] | None = None
        self._running: set[_Completion] = set()
        self._slots = Slots(options.requests)
        # A completion that was cancelled keeps its slot in the engine, and its thread here, until it sees that.
        self._completing = ThreadPoolExecutor(options.requests)
        properties = server.get("/props")
        self._bos = self._find_added_bos(properties["bos_token"])
        self.info = LoadedInfo(
            backend="xllamacpp",
            engine="llama.cpp",
            engine_version=xllamacpp.__version__,
            context_tokens=context_tokens,
            device=server.device,
            placement=options.placement,
            parallel=options.requests,
            template=template,
            bos_token=properties["bos_token"],
            eos_token=properties["eos_token"],
            pooling=pooling,
            constraints=grammar.find_kinds(xllamacpp),
            vocabulary_size=int(server.get("/v1/models")["data"][0]["meta"]["n_vocab"]),
            likeliest=None if files.draft else MOST_LIKELIEST,
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        return self._tokenize(text, add_special=False)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancelled answer ends at once; the engine stops with the batch that it computes."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        limits.check_asked(request, self.info)
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        yield Started(len(prompt))
        body = {"prompt": prompt, "max_tokens": allowance.tokens, "preserved_tokens": list(request.special)}
        body |= options.OPTIONS | options.describe(request.sampling) | options.describe_end(request)
        # Of a prompt of one batch it tells nothing, and the text waits for it.
        body["return_progress"] = len(prompt) > LLAMA_BATCH_TOKENS
        body |= likely.describe(request.likeliest)
        answer = _Answer(len(prompt), likely.Reader(request.likeliest, self._name))
        if request.constraint is not None:
            trial = self._try(dict(body), request.constraint, request.cancelled)
            if trial.ended is None:
                yield trial.finish("cancelled")
                return
            answer.take_reading(trial)
        completion = self._start(body | grammar.describe(request.constraint))
        self._running.add(completion)
        pieces = Pieces(request.stop)
        try:
            reason: FinishReason | None = None
            while reason is None:
                event = completion.wait()
                if request.cancelled():
                    reason = "cancelled"
                elif event is not None:
                    piece = pieces.feed(*answer.take(event))
                    ended = {"length": allowance.finish_reason, "stop": "stop", None: None}[answer.ended]
                    reason = "stop" if pieces.matched else ended
                    if piece is not None:
                        yield piece
                        if reason is None:
                            crowding = max(1.0, len(self._running) / MANY)
                            completion.gather(find_wait_s(min(MOST_PACE_S, PACE_S * crowding)))
        finally:
            self._running.discard(completion)
            completion.stop()
        if (held := pieces.flush()) is not None:
            yield held
        yield replace(answer.finish(reason), stopped_by=pieces.word)

    def _start(self, body: dict[str, Any]) -> _Completion:
        completion = _Completion(self._server, self._slots, body)
        self._completing.submit(completion.run)
        return completion

    def _try(self, body: dict[str, Any], constraint: Constraint, cancelled: Callable[[], bool]) -> _Answer:
        """Read the prompt, and see whether the engine takes the constraint; not ended if cancelled before.

        Raises:
            ConstraintError: it does not.
        """
        body |= grammar.describe_trial(constraint)
        completion = self._start(body)
        trial = _Answer(len(body["prompt"]), likely.Reader(None, self._name))
        text = ""
        try:
            while trial.ended is None and not cancelled():
                event = completion.wait()
                text += trial.take(event)[0] if event is not None else ""
        except EngineError as error:
            if "grammar" not in str(error.detail):
                raise
            raise self._refuse(constraint, body, str(error.detail)) from error
        finally:
            completion.stop()
        if trial.ended is not None and not grammar.is_taken(constraint, text):
            raise self._refuse(constraint, body, "it takes no notice of it")
        return trial

    def _refuse(self, constraint: Constraint, body: dict[str, Any], otherwise: str) -> ConstraintError:
        """The error for a trial that was refused, with what the engine logs about it."""
        log = self._server.overhear(lambda: self._server.stream(body, lambda _: False))
        reason = grammar.find_reason(constraint, log) or otherwise
        return constraints.refuse(constraint, "llama.cpp", reason, grammar.count_lines_ahead(constraint))

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:
        """The vectors of texts, one text after the other: together they are not computed faster on a CPU."""
        if self.info.pooling is None:
            raise limits.refuse_as_loaded(embeds=False)
        prompts = [self._tokenize(text, add_special=True) for text in texts]
        limits.check_texts(texts, [len(prompt) for prompt in prompts], self.info.context_tokens)
        vectors = self._server.embed(prompts, cancelled) if prompts else []
        return [Embedding(tuple(vector), len(prompt)) for vector, prompt in zip(vectors, prompts, strict=False)]

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:
        """How likely each token is: the engine is asked for each of them, for 20 ms each and more."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        prompt = begin_with(self._bos, list(tokens))
        limits.check_scored(prompt, tokens, self.info.context_tokens)
        slot = self._slots.take(prompt)
        try:
            return forced.score(self._server, slot, prompt, len(tokens), likeliest, cancelled)
        finally:
            self._slots.leave(slot)

    def close(self) -> None:
        """Free the model, once the engine has ended what was cancelled."""
        self._completing.shutdown()
        self._server.close()

    def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        asked = {"content": text, "add_special": add_special, "parse_special": True}
        tokens: list[int] = self._server.post("/tokenize", asked)["tokens"]
        return tokens

    def _tokenize_prompt(self, text: str) -> list[int]:
        """Token ids with the model's own first token, once, whether or not its template wrote it."""
        tokens = self.tokenize(text)
        return begin_with(self._bos, tokens)

    def _name(self, token: int) -> bytes:
        """The name of a special token, which the engine does not tell."""
        if self._vocabulary is None:
            with self._path.open("rb") as file:
                self._vocabulary = gguf.read_vocabulary(file, self._path.stat().st_size)
        return self._vocabulary[token] if token < len(self._vocabulary) else b""

    def _find_added_bos(self, bos_token: str) -> list[int]:
        """The token that the file wants before every prompt (`tokenizer.ggml.add_bos_token`), if it wants one."""
        bos = self.tokenize(bos_token)
        return bos if bos and self._tokenize("", add_special=True)[:1] == bos else []


class _Completion:
    """One completion, run in a thread of its own, for the engine calls back from inside a blocking call."""

    def __init__(self, server: LlamaServer, slots: Slots, body: dict[str, Any]) -> None:
        self._server, self._slots, self._body = server, slots, body
        self._events: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._over = threading.Event()

    def wait(self) -> dict[str, Any] | None:
        """The next event, or `None` when there is none for a while.

        Raises:
            EngineError: the engine failed, or ended without saying why.
        """
        try:
            event = self._events.get(timeout=POLL_S)
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise EngineError("llama.cpp failed while answering", detail=str(event)) from event
        if (error := event.get("error")) is not None:
            raise EngineError("llama.cpp could not answer", detail=str(error.get("message", error)))
        return event

    def gather(self, seconds: float) -> None:
        """Let more events come before the next one is taken, if none is there; the end is not waited for."""
        if self._events.empty():
            self._over.wait(seconds)

    def stop(self) -> None:
        """Let the engine stop at its next event."""
        self._stopped.set()

    def run(self) -> None:
        """Compute, to the end; one that is stopped before does not begin."""
        slot = self._slots.take(self._body["prompt"])
        try:
            if not self._stopped.is_set():
                self._server.stream(self._body | {"id_slot": slot}, self._accept)
        except Exception as error:  # noqa: BLE001 - the border of a thread: what is not handed over is lost
            self._events.put(error)
        else:
            self._events.put(RuntimeError("the answer ended without an end"))
        self._slots.leave(slot)
        self._over.set()

    def _accept(self, event: dict[str, Any]) -> bool:
        self._events.put(event)
        return self._stopped.is_set()


class _Answer:
    """What the events of a completion say: text, counts, times, and why it ended."""

    def __init__(self, prompt_tokens: int, reader: likely.Reader) -> None:
        self._prompt_tokens, self._reader = prompt_tokens, reader
        self._timings: dict[str, Any] = {}
        self._cached_tokens = 0
        self._reading: Finished | None = None
        self.ended: str | None = None

    def take_reading(self, trial: _Answer) -> None:
        """The prompt was read by that one."""
        self._reading = trial.finish("stop")

    def take(self, event: dict[str, Any]) -> tuple[str, *tuple[Weighed, ...]]:
        """The text of an event, and the tokens that it tells of."""
        self._timings = event.get("timings", self._timings)
        self._cached_tokens = event.get("prompt_progress", {}).get("cache", self._cached_tokens)
        choice = event["choices"][0]
        self.ended = choice["finish_reason"]
        text: str = choice["text"]
        return text, *self._reader.read(choice, text, int(self._timings.get("predicted_n", 0)))

    def finish(self, reason: FinishReason) -> Finished:
        """The end of the answer, as far as it came."""
        generated = int(self._timings.get("predicted_n", 0))
        cached = max(self._cached_tokens, int(self._timings.get("cache_n", 0)))
        prefill_s = self._timings["prompt_ms"] / 1000 if generated else None
        if self._reading is not None:
            cached, prefill_s = self._reading.usage.cached_tokens, self._reading.prefill_s
        return Finished(
            finish_reason=reason,
            usage=Usage(self._prompt_tokens, generated, cached, int(self._timings.get("draft_n_accepted", 0))),
            prefill_s=prefill_s,
            decode_s=self._timings["predicted_ms"] / 1000 if generated else None,
        )
