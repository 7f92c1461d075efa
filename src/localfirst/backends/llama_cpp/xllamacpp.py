"""Runs GGUF files in llama.cpp, by xllamacpp."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst import gguf
from localfirst.backends import constraints, limits
from localfirst.backends.base import Chunk, LoadedInfo, Started
from localfirst.backends.llama_cpp import drafts, forced, grammar, likely, options
from localfirst.backends.llama_cpp.answer import UNENDED, Answer
from localfirst.backends.llama_cpp.gguf_header import find_context, read_header
from localfirst.backends.llama_cpp.prompt import Prompt, fits, make_counted, make_key, make_uncounted
from localfirst.backends.llama_cpp.pulled import Pulled
from localfirst.backends.llama_cpp.pushed import Pushed, Watch
from localfirst.backends.llama_cpp.server import LlamaServer
from localfirst.backends.llama_cpp.slots import Slots
from localfirst.backends.pace import find_pace_s, find_wait_s
from localfirst.backends.text import Pieces, begin_with
from localfirst.conversation import MOST_LIKELIEST, Embedding
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.conversation import Constraint, Scores
    from localfirst.errors import ConstraintError
    from localfirst.types import Pooling

NO_LIMIT = -1
"""Of an answer, in llama.cpp's words: it goes on to the end of the context."""
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
        # For each slot one: a completion that was cancelled keeps both until the engine sees that.
        self._completing = ThreadPoolExecutor(options.requests)
        self._watch = Watch()
        properties = server.get("/props")
        added = self._tokenize("", add_special=True)
        bos = self.tokenize(properties["bos_token"])
        self._bos = bos if bos and added[:1] == bos else []
        """The token that the file wants before every prompt (`tokenizer.ggml.add_bos_token`), if it wants one."""
        self._adds_bos_alone = added == self._bos
        """Whether llama.cpp would add nothing else, such as an end, to a prompt that it counts itself."""
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
        prompt = self._read(request, count=True)
        answer, body = self._prepare(request, prompt)
        yield Started(answer.prompt_tokens)
        if request.constraint is not None:
            trial = self._try(prompt, dict(body), request.constraint, request.cancelled)
            if trial.ended is None:
                yield trial.end("cancelled")
                return
            answer.take_reading(trial)
        pulled = self._start(prompt, body | grammar.describe(request.constraint))
        try:
            while answer.ended is None:
                event = pulled.wait()
                if request.cancelled():
                    answer.ended = "cancelled"
                elif event is not None and (piece := answer.take(event)) is not None:
                    yield piece
                    if answer.ended is None:
                        pulled.gather(find_wait_s(find_pace_s(self._slots.busy)))
        finally:
            pulled.stop()
        yield from answer.finish()

    def push(self, request: GenerateRequest, put: Callable[[Chunk], None], pass_on: Callable[[], None]) -> None:
        """As `generate`, but `put` and `pass_on` are called where the engine calls back."""
        prompt = self._read(request, count=False)
        answer, body = self._prepare(request, prompt)
        pushed = Pushed(answer, put, pass_on, request.cancelled, lambda: self._slots.busy)
        with self._watch.over(pushed):
            self._complete(prompt, body, pushed)
        pushed.check()

    def _read(self, request: GenerateRequest, *, count: bool) -> Prompt:
        """The prompt of a request that can be answered, counted where it has to be."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        limits.check_asked(request, self.info)
        text = request.prompt
        if isinstance(text, tuple):
            return make_counted(list(text))
        if not count and self._adds_bos_alone and fits(text, self.info.context_tokens, request.max_tokens):
            return make_uncounted(text, self._bos, self.info.bos_token)
        return make_counted(self._tokenize_prompt(text), text)

    def _prepare(self, request: GenerateRequest, prompt: Prompt) -> tuple[Answer, dict[str, Any]]:
        """What is known of an answer before it begins, and what the engine is asked."""
        find_allowance = partial(
            limits.find_allowance, context_tokens=self.info.context_tokens, max_tokens=request.max_tokens
        )
        most = request.max_tokens if prompt.tokens is None else find_allowance(prompt.tokens).tokens
        body: dict[str, Any] = {"prompt": prompt.given, "preserved_tokens": list(request.special)}
        body |= options.OPTIONS | options.describe(request.sampling) | options.describe_end(request)
        body["max_tokens"] = NO_LIMIT if most is None else most
        body["return_progress"] = not prompt.is_one_batch  # of one it tells nothing, and the text waits for it
        body |= likely.describe(request.likeliest)
        reader = likely.Reader(request.likeliest, self._name)
        tokens = prompt.tokens or partial(self._count, request.prompt)
        return Answer(tokens, find_allowance, Pieces(request.stop), reader), body

    def _start(self, prompt: Prompt, body: dict[str, Any]) -> Pulled:
        """Compute in a thread of its own, for the engine calls back from inside a blocking call."""
        pulled = Pulled()
        self._completing.submit(self._complete, prompt, body, pulled)
        return pulled

    def _complete(self, prompt: Prompt, body: dict[str, Any], taker: Pulled | Pushed) -> None:
        """Compute, to the end.

        What nobody wants any more does not begin: its slot then knows what it knew.
        """
        if taker.is_over:
            return
        try:
            with self._slots.taken(prompt.key) as slot:
                self._server.stream(body | {"id_slot": slot}, taker.accept)
            taker.fail(UNENDED)
        except Exception as error:  # noqa: BLE001 - the border of a thread: what is not handed over is lost
            taker.fail(error)

    def _try(
        self, prompt: Prompt, body: dict[str, Any], constraint: Constraint, cancelled: Callable[[], bool]
    ) -> Answer:
        """Read the prompt, and see whether the engine takes the constraint; not ended if cancelled before.

        Raises:
            ConstraintError: it does not.
        """
        body |= grammar.describe_trial(constraint)
        pulled = self._start(prompt, body)
        find_allowance = partial(limits.find_allowance, context_tokens=self.info.context_tokens, max_tokens=1)
        trial = Answer(prompt.tokens or 0, find_allowance, Pieces(()), likely.Reader(None, self._name))
        text = ""
        try:
            while trial.ended is None and not cancelled():
                event = pulled.wait()
                if event is not None and (piece := trial.take(event)) is not None:
                    text += piece.text
        except EngineError as error:
            if "grammar" not in str(error.detail):
                raise
            raise self._refuse(constraint, body, str(error.detail)) from error
        finally:
            pulled.stop()
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

        def score() -> Scores:
            with self._slots.taken(make_key(prompt)) as slot:
                return forced.score(self._server, slot, prompt, len(tokens), likeliest, cancelled)

        return self._completing.submit(score).result()

    def close(self) -> None:
        """Free the model, once the engine has ended what was cancelled."""
        self._completing.shutdown()
        self._slots.wait_until_free()
        self._watch.close()
        self._server.close()

    def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        asked = {"content": text, "add_special": add_special, "parse_special": True}
        tokens: list[int] = self._server.post("/tokenize", asked)["tokens"]
        return tokens

    def _count(self, prompt: str | tuple[int, ...]) -> int:
        """The tokens of a prompt of which the engine said nothing before it was left."""
        return len(prompt if isinstance(prompt, tuple) else self._tokenize_prompt(prompt))

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
