"""Runs LiteRT-LM files in LiteRT-LM, by its sessions: they read the prompt that we rendered, as it is.

What the engine lacks, and what is done about it:

| | |
|---|---|
| Logits | They never leave it, so its sampler draws: temperature, top-k, top-p, seed. Other options are refused. |
| A sampler of one request | A session keeps its own. Other options, or a seed, begin a new one, with nothing read. |
| Seeds that differ by a little | Its first draw is next to the same for them, so they are spread first. |
| Prompts of token ids | It takes text; ids are written as the text that has just these tokens, or refused. |
| A cancel while a prompt is read | It is read in pieces as long as the file does them; an answer ends at once. |
| Special tokens | It writes them into the answer; they are left out, as by all others. |
| Constraints | Refused: conversations alone take them, and let no space through (google-ai-edge/LiteRT-LM#3510). |
| Reasons of failures | Its exceptions have none; the library is asked for it. |
| The end token at the very end | An answer that ends by itself with the last token allowed counts as cut off. |
"""

from __future__ import annotations

import threading
from collections import deque
from importlib.metadata import version
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from localfirst.backends import limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Piece, Started
from localfirst.backends.litert.file import read_file
from localfirst.backends.litert.session import Engine, Options
from localfirst.backends.text import StopFilter
from localfirst.conversation import Scores, Usage
from localfirst.errors import DeviceError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.backends.litert.file import LitertFile
    from localfirst.backends.litert.session import Session
    from localfirst.conversation import FinishReason, Sampling

POLL_S = 0.05
"""How often a cancel is looked for while the engine is busy."""
WAKE_INTERVAL_S = 0.015
"""Texts that follow each other faster wake their reader together, for each waking takes a core from the engine."""
AHEAD = 64
"""Texts that the engine may be ahead of their reader; then it waits, so that a cancel finds it near."""
PIECE_TOKENS = 128
"""Prompt tokens read at once where the file does not say which lengths it can do; what its exporter chooses."""
SLACK_TOKENS = 16
"""How many tokens a cut is moved on to find one that parts no character and no word."""
SEEDS = 2**31 - 1
"""The engine draws by a generator modulo this number, whose states 0 and 1 are the same."""
COLDEST = 1e-3
"""A lower temperature is greedy: it would only divide by next to nothing."""
FILLER = "a"
"""A text of one token in every vocabulary."""
CUT_OFF = "\ufffd"
"""What the engine writes for bytes that are no whole character."""


class LitertBackend:
    """Loads a `.litertlm` file."""

    def list_devices(self) -> tuple[str, ...]:
        """None: this adapter computes on the CPU."""
        return ()

    def describe_build(self) -> str:
        """The package's version; the engine says no more of its build."""
        return f"litert-lm-api {version('litert-lm-api')}"

    def load(self, files: ModelFiles, options: LoadOptions) -> LitertModel:
        """Load a model.

        Raises:
            ModelFileError: the file is missing, damaged, or of another format.
            DeviceError: another device than the CPU is asked for.
            EngineError: the engine refuses the file or lacks the memory.
            UsageError: a number of prompt tokens per pass is asked for: the file has its own.
        """
        if options.placement != "cpu":
            raise DeviceError(f"This build of LiteRT-LM computes on the CPU, not on a `{options.placement}`")
        limits.refuse_batch("LiteRT-LM", options.batch_tokens)
        return LitertModel(Path(files.main), read_file(Path(files.main)), options)


class LitertModel(limits.EmbedsNothing):
    """A model in LiteRT-LM. One request at a time."""

    def __init__(self, path: Path, file: LitertFile, options: LoadOptions) -> None:
        context_tokens = min(options.context_tokens or file.context_tokens, file.context_tokens)
        self._engine = Engine(str(path), context_tokens, options.threads)
        self._file = file
        self._memory = _Memory(self._engine)
        self._run: _Run | None = None
        self.info = LoadedInfo(
            backend="litert",
            engine="litert-lm",
            engine_version=version("litert-lm-api"),
            context_tokens=context_tokens,
            device="CPU",
            placement="cpu",
            parallel=1,
            template=file.template,
            bos_token="" if file.start is None else self._engine.name_token(file.start),
            eos_token=self._engine.name_token(file.stops[0]) if file.stops else "",
            ignores_end=False,
            lacks=("min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias"),
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        return self._engine.tokenize(text)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancelled answer ends at once; the engine stops with what it computes."""
        prompt = self._find_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt.tokens), self.info.context_tokens, request.max_tokens)
        options = self._find_options(request)
        yield Started(len(prompt.tokens))
        self._wait()
        hidden = self._file.specials - set(request.special)
        self._run = run = _Run(self._memory, prompt, options, request, hidden)
        reason: FinishReason | None = None
        try:
            while reason is None:
                text = run.wait()
                if request.cancelled():
                    reason = "cancelled"
                elif text is None:
                    reason = run.find_reason(allowance)
                elif text:
                    yield Piece(text)
        finally:
            run.stop()
        yield run.finish(reason)

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:  # noqa: ARG002
        """How likely each token is; what would be likelier the engine does not tell, nor is it cancelled meanwhile.

        Raises:
            UsageError: these tokens are those of no text, and the engine reads text; or they begin with the model's own
                first one, which the engine puts there itself.
        """
        if tokens[:1] == [self._file.start]:
            raise UsageError("LiteRT-LM puts the model's first token before a text itself", hint="Leave it out")
        prompt = self._find_prompt(tuple(tokens))
        limits.check_scored(prompt.tokens, tokens, self.info.context_tokens - 1)  # the engine keeps one free
        self._wait()
        scores = [] if cancelled() else self._memory.score(self.info.bos_token or FILLER, prompt.text)
        if scores and len(scores) != len(tokens):
            raise EngineError("LiteRT-LM did not tell of all tokens", detail=f"{len(scores)} of {len(tokens)}")
        return Scores(tuple(scores[1:]))

    def close(self) -> None:
        """Free the model, once the engine has ended what was cancelled."""
        self._wait()
        self._memory.clear()
        self._engine.close()

    def _wait(self) -> None:
        if self._run is not None:
            self._run.thread.join()

    def _find_prompt(self, prompt: str | tuple[int, ...]) -> _Prompt:
        """The prompt with the model's own first token, once, whether or not its template wrote it."""
        first = () if self._file.start is None else (self._file.start,)
        if isinstance(prompt, str):
            text = prompt.removeprefix(self.info.bos_token)
            tokens = self._engine.tokenize(text)
        else:
            tokens = list(prompt[1:] if first and prompt[:1] == first else prompt)
            found = self._engine.find_text(tokens)
            if found is None:
                raise UsageError("LiteRT-LM reads text, and these token ids are those of no text")
            text = found
        if not tokens:
            first = ()  # an empty prompt stays one
        return _Prompt(text, (*first, *tokens), len(first), self._file.piece_tokens or PIECE_TOKENS)

    def _find_options(self, request: GenerateRequest) -> Options:
        """Options of a session; what is not asked for is off, not the engine's default.

        Raises:
            UsageError: an option is asked for that the engine does not have.
        """
        sampling = request.sampling
        limits.check_asked(request, self.info)
        if request.ignore_end:
            raise UsageError(
                "LiteRT-LM has no `ignore_end`", hint="Take a build for another engine: `lf model explain`"
            )
        max_tokens = request.max_tokens or self.info.context_tokens
        if _is_greedy(sampling):
            return Options(1, 1.0, 1.0, max_tokens)
        every = self._file.vocabulary or SEEDS
        top_p = 1.0 if sampling.top_p is None else sampling.top_p
        return Options(sampling.top_k or every, top_p, sampling.temperature, max_tokens)


def _is_greedy(sampling: Sampling) -> bool:
    return sampling.temperature < COLDEST or sampling.top_k == 1


class _Prompt(NamedTuple):
    """A prompt as text and as tokens; the first `added` of them are none of the text's."""

    text: str
    tokens: tuple[int, ...]
    added: int
    piece_tokens: int

    def cut(self, engine: Engine, begin: int) -> tuple[str, int] | None:
        """The next text to read from a token on, and where it ends; `None` if nothing can begin there."""
        if begin == 0 and len(self.tokens) <= self.piece_tokens:
            return self.text, len(self.tokens)
        first = max(begin, self.added)
        for end in range(begin + self.piece_tokens, begin + self.piece_tokens + SLACK_TOKENS):
            if (text := engine.find_text(list(self.tokens[first:end]))) is not None:
                return text, min(end, len(self.tokens))
            if end >= len(self.tokens):
                break
        return (self.text, len(self.tokens)) if begin == 0 else None


class _Memory:
    """The session, what it was made with, and the tokens whose keys and values it has."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._session: Session | None = None
        self._options: Options | None = None
        self._tokens: tuple[int, ...] = ()

    def prepare(self, prompt: _Prompt, options: Options, seed: int | None) -> tuple[Session, int]:
        """A session for these options that has read the prompt up to some token, at most to the last but one."""
        if self._session is None or options != self._options or (seed is not None and options.top_k > 1):
            self.clear()
            self._session = self.engine.start(options, _spread(seed))
            self._options = options
            return self._session, 0
        common = _count_common(self._tokens, prompt.tokens[:-1])
        begins = range(common, max(common - SLACK_TOKENS, prompt.added), -1)
        kept = next((begin for begin in begins if prompt.cut(self.engine, begin) is not None), 0)
        self._session.rewind(kept)
        self._tokens = self._tokens[:kept]
        return self._session, kept

    def remember(self, tokens: tuple[int, ...]) -> None:
        """These are read. What an answer adds is not known token by token, so a next turn reads it again."""
        self._tokens = tokens

    def score(self, lost: str, text: str) -> list[float]:
        """How likely each token of a text is after those before it, but for the first, of which nothing is known.

        The engine scores only what comes after something that was read. Of that it loses one token, which the last one
        is written over, or of a single one that (seen with 0.18.1). So what is read is one token that may be lost: any,
        or where the engine puts a first token there, that once more.
        """
        self.clear()
        session = self.engine.start(Options(1, 1.0, 1.0, 1), _spread(None))
        try:
            session.read(lost)
            return session.score(text)
        finally:
            session.close()

    def clear(self) -> None:
        """Forget all."""
        if self._session is not None:
            self._session.close()
        self._session, self._tokens = None, ()


def _spread(seed: int | None) -> int:
    """A seed of the engine's, far from those of seeds nearby; any, for none."""
    return Random(seed).randrange(1, SEEDS)  # noqa: S311 - draws tokens, guards nothing


def _count_common(ours: Sequence[int], theirs: Sequence[int]) -> int:
    for index, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if our != their:
            return index
    return min(len(ours), len(theirs))


class _Run:
    """One request, computed in a thread of its own, so that a cancel need not wait for the engine."""

    def __init__(
        self,
        memory: _Memory,
        prompt: _Prompt,
        options: Options,
        request: GenerateRequest,
        specials: frozenset[str],
    ) -> None:
        self._memory, self._prompt, self._options, self._specials = memory, prompt, options, specials
        self._seed = request.sampling.seed
        self._events = deque[str | Exception | None]()
        self._news = threading.Event()
        self._room = threading.Semaphore(AHEAD)
        self._next_s = 0.0
        self._stopped = threading.Event()
        self._stop = StopFilter(request.stop)
        self._held = ""
        self._cached_tokens = 0
        self._answer_tokens = 0
        self._prefill_s: float | None = None
        self._taken_s: list[float] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def wait(self) -> str | None:
        """The next text, empty when there is none for a while; `None` at the end.

        Raises:
            EngineError: the engine failed.
        """
        if not self._events:
            self._news.wait(POLL_S)
            self._news.clear()
        if not self._events:
            return ""
        event = self._events.popleft()
        self._room.release()
        if isinstance(event, Exception):
            raise event
        return event

    def stop(self) -> None:
        """Let the engine stop at its next token, or after its piece of the prompt."""
        self._stopped.set()
        self._room.release()

    def find_reason(self, allowance: limits.Allowance) -> FinishReason:
        """Why the answer ended, if nobody cancelled it."""
        full = self._answer_tokens >= allowance.tokens and not self._stop.matched
        return allowance.finish_reason if full else "stop"

    def finish(self, reason: FinishReason) -> Finished:
        """The end of the answer, as far as it came."""
        usage = Usage(len(self._prompt.tokens), self._answer_tokens or len(self._taken_s), self._cached_tokens)
        decode_s = self._taken_s[-1] - self._taken_s[0] if self._taken_s else None
        return Finished(reason, usage, self._prefill_s, decode_s, self._stop.word)

    def _run(self) -> None:
        try:
            session, begin = self._memory.prepare(self._prompt, self._options, self._seed)
            if self._read(session, begin):
                cancelled = session.answer(lambda text: self._take(session, text))
                # What was cancelled has drawn one token more, which nobody sees.
                self._answer_tokens = session.count_answer() - cancelled
        except Exception as error:  # noqa: BLE001 - the border of a thread: what is not handed over is lost
            self._memory.clear()
            self._events.append(error)
        else:
            self._events.extend((self._stop.flush(), None))
        self._news.set()

    def _read(self, session: Session, begin: int) -> bool:
        """Read the prompt from a token on; whether it was read to its end."""
        started = perf_counter()
        self._cached_tokens = begin
        while begin < len(self._prompt.tokens) and not self._stopped.is_set():
            cut = self._prompt.cut(self._memory.engine, begin)
            if cut is None:
                session.rewind(0)
                cut = (self._prompt.text, len(self._prompt.tokens))
                self._cached_tokens = 0
            text, begin = cut
            session.read(text)
            self._memory.remember(self._prompt.tokens[:begin])
        self._prefill_s = perf_counter() - started
        return begin == len(self._prompt.tokens) and not self._stopped.is_set()

    def _take(self, session: Session, text: str) -> None:
        """Show a token's text, less what may be the beginning of a character, unless it is a special token's."""
        now = perf_counter()
        self._taken_s.append(now)
        text = self._held + ("" if text in self._specials else text)
        whole = text.rstrip(CUT_OFF)
        self._held = text[len(whole) :]
        self._events.append(self._stop.feed(whole))
        if now >= self._next_s:
            self._next_s = now + WAKE_INTERVAL_S
            self._news.set()
        if not self._room.acquire(blocking=False) and not self._stopped.is_set():
            self._news.set()
            self._room.acquire()
        if self._stop.matched or self._stopped.is_set():
            session.cancel()
