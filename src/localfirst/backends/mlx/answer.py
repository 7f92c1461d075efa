"""One request on its way through a model: what is drawn for it, the text that comes of it, and how it ends.

One thread computes it, and another one follows it.
"""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.backends.base import Finished
from localfirst.backends.mlx.network import Kept
from localfirst.backends.mlx.sampler import NOT_A_NUMBER, DeviceSampler
from localfirst.backends.scoring import weigh
from localfirst.backends.text import Pieces
from localfirst.conversation import Usage
from localfirst.errors import EngineError, LfError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from localfirst.backends.base import Chunk, GenerateRequest
    from localfirst.backends.guide import Guide
    from localfirst.backends.limits import Allowance
    from localfirst.backends.token_bytes import Decoder
    from localfirst.conversation import FinishReason, Weighed

POLL_S = 0.05
"""How often a cancel is looked for while the engine is busy."""


class Writing(NamedTuple):
    """How a model writes."""

    decoder: Decoder
    spell: Callable[[int], bytes]
    ends: Container[int | None]
    """Tokens that end an answer."""


class Answer:
    """A request, and what is known of its answer."""

    def __init__(
        self, prompt: list[int], request: GenerateRequest, allowance: Allowance, guide: Guide | None, writing: Writing
    ) -> None:
        self.prompt, self.guide = prompt, guide
        self._request, self._allowance, self._writing, self._ends = request, allowance, writing, writing.ends
        self._pieces = Pieces(request.stop)
        self._logits: deque[Any] = deque()
        """What the tokens were drawn from that are not known yet, where it is to be told how likely they are."""
        self._chunks: SimpleQueue[tuple[Chunk | Exception, int]] = SimpleQueue()  # each with the tokens up to it
        self._sampler: DeviceSampler | None = None
        self._began = self._first_at = self._last_at = perf_counter()
        self._generated = self._cached_tokens = 0
        self._left = False
        self.ended = self.failed = False
        self.kept = Kept([], [])

    def follow(self) -> Iterator[Chunk]:
        """The answer's chunks as they come. A cancelled one ends at once, whatever is still computed.

        Its tokens are those of the chunks that were taken: MLX may be some ahead.

        Raises:
            ConstraintError: the constraint has become too much for the guide.
            EngineError: MLX failed, or computed something that is not a number.
        """
        taken = 0
        try:
            while not self._request.cancelled():
                try:
                    chunk, taken = self._chunks.get(timeout=POLL_S)
                except Empty:
                    continue
                if isinstance(chunk, Exception):
                    raise _translate(chunk) from chunk
                yield chunk
                if isinstance(chunk, Finished):
                    return
            yield self._finish("cancelled", taken)
        finally:
            self._left = True

    def is_cancelled(self) -> bool:
        """Whether nobody waits for it any more; then it has ended."""
        self.ended = self.ended or self._left or self._request.cancelled()
        return self.ended

    def goes_on(self) -> bool:
        """Whether a token comes after the one that is drawn, as far as is known before that one is."""
        return not self.is_cancelled() and not self._is_at_its_last

    def go_on_from(self, kept: Kept) -> None:
        """Take a conversation that the prompt begins with."""
        self.kept, self._cached_tokens = kept, len(kept.tokens)

    @property
    def _is_at_its_last(self) -> bool:
        return self._generated + 1 == self._allowance.tokens

    def draw(self, logits: Any, before: Any = None) -> Any:
        """The next token, after the one `before`; nothing is computed yet.

        Only under a constraint `before` is looked at; what may not go on then ends here.
        """
        if self._sampler is None:
            self._sampler = DeviceSampler(self._request.sampling, self.prompt)
        if self._request.likeliest is not None:
            self._logits.append(logits)
        try:
            allowed = None if self.guide is None else self._find_allowed(self.guide, before)
        except LfError as error:
            self.fail(error)
            allowed = None
        return self._sampler.draw(logits, allowed)

    def take(self, token: int) -> None:
        """Take note of the token that was drawn before."""
        if self.ended:
            return
        if token == NOT_A_NUMBER:
            self.fail(EngineError("The model computed something that is not a number"))
            return
        if not self._is_at_its_last:
            self.kept.tokens.append(token)
        self._last_at = perf_counter()
        self._first_at = self._first_at if self._generated else self._last_at
        self._generated += 1
        weighed = self._weigh(token)
        if token not in self._ends:
            self._hand_over(self._pieces.feed(self._writing.decoder.feed(token), *weighed))
        if (reason := self._find_end(token)) is not None:
            self._end(reason)

    def fail(self, error: Exception) -> None:
        """End without an answer."""
        if not self.ended:
            self._hand_over(error)
        self.ended = self.failed = True

    def _weigh(self, token: int) -> tuple[Weighed, ...]:
        if self._request.likeliest is None:
            return ()
        import mlx.core
        import numpy as np

        logits = self._logits.popleft().astype(mlx.core.float32)
        return (weigh(np.array(logits), token, self._request.likeliest, self._writing.spell),)

    def _find_allowed(self, guide: Guide, before: Any) -> Any:
        if before is not None:
            token = int(before.item())
            if token in self._ends or token == NOT_A_NUMBER:
                return None
            guide.note(token)
        return guide.find_allowed()

    def _find_end(self, token: int) -> FinishReason | None:
        if self._pieces.matched or (token in self._ends and not self._request.ignore_end):
            return "stop"
        return self._allowance.finish_reason if self._generated == self._allowance.tokens else None

    def _end(self, reason: FinishReason) -> None:
        self._hand_over(self._pieces.flush())
        self._hand_over(self._finish(reason, self._generated))
        self.ended = True

    def _hand_over(self, chunk: Chunk | Exception | None) -> None:
        if chunk is not None:
            self._chunks.put((chunk, self._generated))

    def _finish(self, reason: FinishReason, generated: int) -> Finished:
        usage = Usage(len(self.prompt), generated, self._cached_tokens)
        if not usage.completion_tokens:
            return Finished(reason, usage)
        return Finished(reason, usage, self._first_at - self._began, self._last_at - self._first_at, self._pieces.word)


def _translate(error: Exception) -> Exception:
    if isinstance(error, (RuntimeError, ValueError)):
        return EngineError("MLX failed while answering", detail=str(error))
    return error
