"""Computes the answers of one or several requests in one thread, a token of each at a time.

mlx-lm's own `BatchGenerator` is not used (0.32.2). It draws from log-probabilities in the model's own precision, where
the likeliest token may be another than that of the logits. What is raised for one request, as by a constraint, reaches
it after all caches have taken a token that is then computed again. And a request that is alone has a row, with a mask,
where it needs none. So only its caches are used, and those of rows only where there are two answers or more.

A step computes the next token of every answer; after it a part of one prompt is read. Prompts take turns. Token n + 1
is queued before token n is known, as mlx-lm does: drawing happens where the model is computed. Under a constraint it is
drawn after, for what may follow depends on what came; the model computes meanwhile.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from localfirst.choices import MLX_PREFILL_TOKENS
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from localfirst.backends.mlx.answer import Answer
    from localfirst.backends.mlx.network import Kept, Layers, Network


class Batch:
    """The requests of a model. All but `start` belongs to the model's thread."""

    def __init__(self, network: Network, thread: ThreadPoolExecutor, prefill_tokens: int | None = None) -> None:
        self._network, self._thread = network, thread
        self._prefill_tokens = prefill_tokens or MLX_PREFILL_TOKENS
        self.idle = [network.begin() for _ in range(network.parallel)]
        """Conversations that nobody goes on with now, the one longest unused first: as many as requests may come."""
        self._waiting: deque[Answer] = deque()
        self._reading: deque[Answer] = deque()
        self._rows: list[Answer] = []
        self._layers: Layers = []
        """Caches of the rows: those of the conversation where there is one, else joined ones."""
        self._drawn: Any = None
        """The token of each row that is drawn, but not known yet."""
        self._running = False

    def start(self, answer: Answer) -> None:
        """Have a request answered, by any thread."""
        self._thread.submit(self._add, answer)

    def close(self) -> None:
        """Give up what is not answered."""
        for answer in (*self._waiting, *self._reading, *self._rows):
            answer.fail(EngineError("The model was closed while it answered"))
        self._waiting.clear()
        self._reading.clear()
        self._forget_rows()
        self.idle.clear()

    def _add(self, answer: Answer) -> None:
        self._waiting.append(answer)
        if not self._running:
            self._go_on()

    def _go_on(self) -> None:
        """Do a step and read a part of a prompt; then again, after whatever else there is to do for the thread."""
        self._admit()
        self._step()
        self._read()
        self._running = bool(self._rows or self._reading or self._waiting)
        if self._running:
            self._thread.submit(self._go_on)

    def _admit(self) -> None:
        while self._waiting and self.idle:
            answer = self._waiting.popleft()
            if answer.is_cancelled():
                continue
            try:
                answer.go_on_from(self._take_conversation(answer.prompt[:-1]))
            except Exception as error:  # noqa: BLE001 - as in `_step`
                answer.fail(error)
            else:
                self._reading.append(answer)

    def _take_conversation(self, prompt: Sequence[int]) -> Kept:
        """The one to go on from: of those that keep more than half of what they are the longest, else the oldest.

        A conversation is thus not given up for a few tokens that all begin with.
        """
        reusable = [self._network.count_reusable(kept, prompt) for kept in self.idle]
        worth = [
            tokens if 2 * tokens > len(kept.tokens) else 0 for kept, tokens in zip(self.idle, reusable, strict=True)
        ]
        number = worth.index(max(worth))
        kept = self.idle.pop(number)
        try:
            return self._network.turn_back(kept, reusable[number])
        except Exception:
            self.idle.append(self._network.begin())  # else one fewer could be answered from now on
            raise

    def _step(self) -> None:
        """Compute the next token of all rows, and hand out the one before."""
        rows, drawn = self._rows, self._drawn
        if not rows:
            return
        try:
            self._keep([row for row in rows if row.goes_on()])
            self._queue()
            for row, token in zip(rows, drawn.tolist(), strict=True):
                row.take(token)
            self._keep([row for row in self._rows if not row.ended])
        except Exception as error:  # noqa: BLE001 - the border of a thread: what is not handed over is lost
            self._lose_all(rows, error)
        self._give_back(rows)

    def _queue(self) -> None:
        if not self._rows:
            return
        before, logits = self._drawn, self._network.compute(self._drawn, self._layers)
        if any(row.guide for row in self._rows):
            self._network.mx.async_eval(logits)
        drawn = [
            row.draw(logits[number], before[number] if row.guide else None) for number, row in enumerate(self._rows)
        ]
        self._set_drawn(drawn)

    def _read(self) -> None:
        """Read a part of the prompt whose turn it is, and queue the first token of its answer once it is read."""
        if not self._reading:
            return
        answer = self._reading.popleft()
        drawn = None
        try:
            if not answer.is_cancelled():
                drawn = self._read_part(answer)
        except Exception as error:  # noqa: BLE001 - as above
            answer.fail(error)
        if answer.ended:
            self._give_back([answer])
        elif drawn is None:
            self._reading.append(answer)
        else:
            self._join(answer, drawn)

    def _read_part(self, answer: Answer) -> Any:
        """The first token, drawn but not known yet, or `None` before the prompt's end."""
        kept, end = answer.kept, len(answer.prompt) - 1
        if part := answer.prompt[len(kept.tokens) : min(len(kept.tokens) + self._prefill_tokens, end)]:
            self._network.read(kept, part)
        if len(kept.tokens) < end:
            return None
        last = answer.prompt[-1:]
        drawn = answer.draw(self._network.compute(self._network.mx.array(last), kept.layers)[0])
        self._network.mx.async_eval(drawn)  # else what is to be computed would hold caches that are put together
        kept.tokens += last
        return drawn

    def _join(self, answer: Answer, drawn: Any) -> None:
        rows = [*self._rows, answer]
        try:
            self._layers = self._network.join(self._layers, len(self._rows), answer.kept.layers)
            self._set_drawn([drawn] if self._drawn is None else [self._drawn, drawn])
            self._rows = rows
        except Exception as error:  # noqa: BLE001 - as above
            self._lose_all(rows, error)
            self._give_back(rows)

    def _set_drawn(self, drawn: list[Any]) -> None:
        self._drawn = drawn[0] if len(drawn) == 1 else self._network.mx.concatenate(drawn)
        self._network.mx.async_eval(self._drawn)

    def _keep(self, staying: list[Answer]) -> None:
        """Take all other rows out of the common caches."""
        if len(staying) == len(self._rows):
            return
        if len(self._rows) == 1:
            self._forget_rows()
            return
        numbers = [number for number, row in enumerate(self._rows) if row in staying]
        leaving = [(number, row) for number, row in enumerate(self._rows) if row not in staying]
        self._layers, gone = self._network.part(self._layers, numbers, [number for number, _ in leaving])
        for (_, row), layers in zip(leaving, gone, strict=True):
            row.kept.layers = layers
        if len(staying) == 1:
            staying[0].kept.layers = self._layers
        self._rows = staying
        self._drawn = self._drawn[self._network.mx.array(numbers)] if staying else None

    def _forget_rows(self) -> None:
        self._rows, self._layers, self._drawn = [], [], None

    def _lose_all(self, rows: Iterable[Answer], error: Exception) -> None:
        for row in rows:
            row.fail(error)
        self._forget_rows()

    def _give_back(self, answers: Iterable[Answer]) -> None:
        """Keep the conversations of those that have ended for a next turn; what failed is not gone on from."""
        for answer in answers:
            if answer.ended:
                self.idle.append(self._network.begin() if answer.failed else answer.kept)
