"""Runs GGUF files in llama.cpp, by xllamacpp."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst import gguf
from localfirst.backends import constraints, limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Piece, Started
from localfirst.backends.llama_cpp import drafts, forced, grammar, likely, options
from localfirst.backends.llama_cpp.gguf_header import find_context, read_header
from localfirst.backends.llama_cpp.server import LlamaServer
from localfirst.backends.llama_cpp.slots import Slots
from localfirst.backends.pace import MANY, find_pace_s, find_wait_s
from localfirst.backends.text import Pieces, begin_with
from localfirst.choices import LLAMA_BATCH_TOKENS
from localfirst.conversation import MOST_LIKELIEST, Embedding, Usage
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.conversation import Constraint, FinishReason, Scores
    from localfirst.errors import ConstraintError
    from localfirst.types import Pooling

POLL_S = 0.05
"""How often a cancel is looked for while the engine is busy."""
AT_ONCE_S = 0.001
"""What the engine gives sooner than this after what it gave before was there already."""
UNENDED = "the answer ended without an end"
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
        answer, body = self._prepare(request)
        yield Started(answer.prompt_tokens)
        if request.constraint is not None:
            trial = self._try(dict(body), request.constraint, request.cancelled)
            if trial.ended is None:
                yield trial.end("cancelled")
                return
            answer.take_reading(trial)
        completion = self._start(body | grammar.describe(request.constraint))
        try:
            while answer.ended is None:
                event = completion.wait()
                if request.cancelled():
                    answer.ended = "cancelled"
                elif event is not None and (piece := answer.take(event, more=completion.has_more())) is not None:
                    yield piece
                    if answer.ended is None:
                        completion.gather(find_wait_s())
        finally:
            completion.stop()
        yield from answer.finish()

    def push(self, request: GenerateRequest, put: Callable[[Chunk], None]) -> None:
        """As `generate`, in the thread in which the engine calls back."""
        answer, body = self._prepare(request)
        pushing = _Pushing(answer, put, request.cancelled, self._slots)
        put(Started(answer.prompt_tokens))
        request.heed(pushing.cancel)
        slot = self._slots.take(body["prompt"])
        try:
            if not pushing.is_over:
                self._server.stream(body | {"id_slot": slot}, pushing.accept)
        except RuntimeError as error:
            raise _fail(error) from error
        finally:
            self._slots.leave(slot)
        pushing.check()

    def _prepare(self, request: GenerateRequest) -> tuple[_Answer, dict[str, Any]]:
        """What is known of an answer before it begins, and what the engine is asked."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        limits.check_asked(request, self.info)
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        body = {"prompt": prompt, "max_tokens": allowance.tokens, "preserved_tokens": list(request.special)}
        body |= options.OPTIONS | options.describe(request.sampling) | options.describe_end(request)
        # Of a prompt of one batch it tells nothing, and the text waits for it.
        body["return_progress"] = len(prompt) > LLAMA_BATCH_TOKENS
        body |= likely.describe(request.likeliest)
        reader = likely.Reader(request.likeliest, self._name)
        return _Answer(len(prompt), allowance, Pieces(request.stop), reader), body

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
        trial = _Answer(len(body["prompt"]), limits.Allowance(1, "length"), Pieces(()), likely.Reader(None, self._name))
        text = ""
        try:
            while trial.ended is None and not cancelled():
                event = completion.wait()
                if event is not None and (piece := trial.take(event)) is not None:
                    text += piece.text
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
            raise _fail(event)
        return event

    def has_more(self) -> bool:
        """Whether the next event is there already."""
        return not self._events.empty()

    def gather(self, seconds: float) -> None:
        """Let more events come before the next one is taken, if none is there; the end is not waited for."""
        if not self.has_more():
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
            self._events.put(RuntimeError(UNENDED))
        self._slots.leave(slot)
        self._over.set()

    def _accept(self, event: dict[str, Any]) -> bool:
        self._events.put(event)
        return self._stopped.is_set()


class _Pushing:
    """An answer on its way from the engine's calls to who takes it: until it ends, or is cancelled meanwhile.

    Events are kept until the next moment to pass something on: beside an engine that pushes all else out of the caches,
    to look at each as it comes costs far more than to look at several in a row.

    Every token of any request wakes all who wait in the engine for theirs (`server_response::send` in
    `tools/server/server-queue.cpp`, ggml-org/llama.cpp): of 16 that wait, that is a third of what all this costs. So
    where there are many, none waits there before that moment; what came meanwhile the engine then gives at once.
    """

    def __init__(
        self, answer: _Answer, put: Callable[[Chunk], None], cancelled: Callable[[], bool], slots: Slots
    ) -> None:
        self._answer, self._put, self._cancelled, self._slots = answer, put, cancelled, slots
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._error: Exception | None = None
        self._kept: list[dict[str, Any]] = []
        self._due_s = 0.0
        self._called_s = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the end was passed on, or an error stands in its place."""
        return self._over.is_set()

    def accept(self, event: dict[str, Any]) -> bool:
        """Take an event; whether the engine is to stop."""
        now_s = time.monotonic()
        self._kept.append(event)
        is_last = now_s - self._called_s > AT_ONCE_S  # of those that are there
        if (is_last and now_s >= self._due_s) or _is_end(event):
            self._go_on(self._take_kept)
            if self._slots.busy >= MANY:
                self._over.wait(min(self._find_wait_s(), self._answer.find_left_s()))
        self._called_s = time.monotonic()
        return self.is_over

    def _find_wait_s(self) -> float:
        return find_wait_s(find_pace_s(self._slots.busy))

    def _take_kept(self) -> None:
        kept, self._kept = self._kept, []
        for number, event in enumerate(kept, 1):
            if (piece := self._answer.take(event, more=number < len(kept))) is not None:
                self._put(piece)
                self._due_s = time.monotonic() + self._find_wait_s()
            if self._answer.ended is None and self._cancelled():
                self._answer.ended = "cancelled"
            if self._answer.ended is not None:
                return

    def cancel(self) -> None:
        """End it, from whatever thread."""

        def end() -> None:
            self._answer.ended = "cancelled"

        self._go_on(end)

    def check(self) -> None:
        """See that it ended well, once the engine calls no more.

        Raises:
            LfError: it did not.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self.is_over:
                raise _fail(RuntimeError(UNENDED))

    def _go_on(self, step: Callable[[], None]) -> None:
        """Do something, unless it is over, and pass the end on where it has come."""
        with self._lock:
            if self.is_over:
                return
            try:
                step()
                if self._answer.ended is not None:
                    self._over.set()
                    for chunk in self._answer.finish():
                        self._put(chunk)
            except Exception as error:  # noqa: BLE001 - raised again when the engine has returned: it knows none
                self._error = error
                self._over.set()


class _Answer:
    """What the events of a completion say: text, counts, times, and why it ended."""

    def __init__(self, prompt_tokens: int, allowance: limits.Allowance, pieces: Pieces, reader: likely.Reader) -> None:
        self.prompt_tokens = prompt_tokens
        self._most_tokens = allowance.tokens
        self._reasons: dict[str | None, FinishReason | None]
        self._reasons = {None: None, "stop": "stop", "length": allowance.finish_reason}
        self._pieces, self._reader = pieces, reader
        self._timings: dict[str, Any] = {}
        self._cached_tokens = 0
        self._reading: Finished | None = None
        self.ended: FinishReason | None = None

    def take_reading(self, trial: _Answer) -> None:
        """The prompt was read by that one."""
        self._reading = trial.end("stop")

    def find_left_s(self) -> float:
        """How long it goes on at the most, as fast as it came so far."""
        tokens = int(self._timings.get("predicted_n", 0))
        each_s = self._timings["predicted_ms"] / 1000 / tokens if tokens else 0.0
        return (self._most_tokens - tokens) * each_s

    def take(self, event: dict[str, Any], *, more: bool = False) -> Piece | None:
        """The text of an event that is safe to show, and the tokens that it tells of.

        Raises:
            EngineError: it says that the engine failed.
        """
        if (error := event.get("error")) is not None:
            raise EngineError("llama.cpp could not answer", detail=str(error.get("message", error)))
        self._timings = event.get("timings", self._timings)
        self._cached_tokens = event.get("prompt_progress", {}).get("cache", self._cached_tokens)
        choice = event["choices"][0]
        text: str = choice["text"]
        weighed = self._reader.read(choice, text, int(self._timings.get("predicted_n", 0)))
        piece = self._pieces.feed(text, *weighed, more=more)
        self.ended = "stop" if self._pieces.matched else self._reasons[choice["finish_reason"]]
        return piece

    def finish(self) -> Iterator[Chunk]:
        """What was held back, and the end."""
        if (held := self._pieces.flush()) is not None:
            yield held
        yield self.end(self.ended)

    def end(self, reason: FinishReason | None) -> Finished:
        """The end of the answer, as far as it came."""
        assert reason is not None  # noqa: S101 - nothing ends without
        generated = int(self._timings.get("predicted_n", 0))
        cached = max(self._cached_tokens, int(self._timings.get("cache_n", 0)))
        prefill_s = self._timings["prompt_ms"] / 1000 if generated else None
        if self._reading is not None:
            cached, prefill_s = self._reading.usage.cached_tokens, self._reading.prefill_s
        return Finished(
            finish_reason=reason,
            usage=Usage(self.prompt_tokens, generated, cached, int(self._timings.get("draft_n_accepted", 0))),
            prefill_s=prefill_s,
            decode_s=self._timings["predicted_ms"] / 1000 if generated else None,
            stopped_by=self._pieces.word,
        )


def _is_end(event: dict[str, Any]) -> bool:
    return "error" in event or event["choices"][0]["finish_reason"] is not None


def _fail(error: Exception) -> EngineError:
    failure = EngineError("llama.cpp failed while answering", detail=str(error))
    failure.__cause__ = error
    return failure
