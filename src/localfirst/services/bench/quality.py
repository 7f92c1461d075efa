"""How well builds foretell a text, and how far they are from a reference: by the engines' own log-probabilities.

Each is loaded alone, one after the other: nothing is timed here, so they need not take turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.bench import prose, quality
from localfirst.bench.values import Contender, Workload
from localfirst.errors import LfError, UsageError
from localfirst.services.bench import contenders
from localfirst.services.prompt import read_text_file
from localfirst.types import Progress
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localfirst.conversation import Scores
    from localfirst.services.bench.asked import Asked
    from localfirst.services.bench.contenders import Ready
    from localfirst.services.preparing import Allowed

MOST_TOKENS = 16 * quality.WINDOW_TOKENS
"""Of a longer text the beginning is scored: the error of a mean is small by then, and an engine may take 50 ms for each
token."""


class Text(NamedTuple):
    """What is to be foretold."""

    name: str
    content: str


class Row(NamedTuple):
    """What was found of one build."""

    contender: Contender
    quality: quality.Quality
    comparison: quality.Comparison | None
    """`None`: there is no reference, or this is it."""
    is_reference: bool = False


class Report(NamedTuple):
    """All that was found."""

    text: str
    """Its name."""
    whole: bool
    """Whether it was scored to its end."""
    rows: tuple[Row, ...]
    failures: tuple[str, ...] = ()
    """What could not be measured, and why, in words for people."""


class Quality:
    """One measurement. `prepare`, then `measure`; `errors` is why builds could not be measured."""

    def __init__(self, asked: Asked, reference: str | None, text: Text, allowed: Allowed) -> None:
        self._asked = asked._replace(workloads=(Workload(quality.WINDOW_TOKENS, 1),), scenarios=())
        self._reference, self._text, self._allowed = reference, text, allowed
        self.errors: list[LfError] = []
        self._failures: list[str] = []
        self._whole = True

    def prepare(self, report: Callable[[Progress], None]) -> None:
        """Fetch what is missing.

        Raises:
            LfError: nothing that was asked for can be measured, or the reference cannot.
        """
        self._ready: list[tuple[Ready, bool]] = []
        if self._reference is not None:
            alone = self._asked._replace(models=(self._reference,), backends=self._asked.backends[:1])
            found = contenders.find_contenders(alone._replace(every_backend=False), self._allowed, report)
            self._ready.append((found.ready[0], True))
        found = contenders.find_contenders(self._asked, self._allowed, report)
        for name, error in found.failures:
            self._fail(name, error)
        self._failures += found.notes
        known = {(ready.name, ready.load.placement) for ready, _ in self._ready}
        self._ready += [(one, False) for one in found.ready if (one.name, one.load.placement) not in known]

    def measure(self, report: Callable[[Progress], None]) -> Report:
        """Score the text by each of them, the reference first.

        Raises:
            LfError: the reference could not be scored, or nothing could.
        """
        rows: list[Row] = []
        base: _Scored | None = None
        for ready, is_reference in self._ready:
            try:
                scored = self._score(ready, base, report)
                rows.append(_make_row(scored, base, is_reference=is_reference))
            except LfError as error:
                if is_reference:
                    raise
                self._fail(ready.name, error)
                continue
            base = scored if is_reference else base
        if not rows:
            raise self.errors[0]
        return Report(self._text.name, self._whole, tuple(rows), tuple(self._failures))

    def _score(self, ready: Ready, base: _Scored | None, report: Callable[[Progress], None]) -> _Scored:
        """Let a build score the text, once it is known to cut it as the reference does."""
        with Worker(ready.python) as worker:
            _say(report, f"{ready.name}: loading")
            info = worker.load(ready.load)
            every = worker.tokenize(self._text.content)
            tokens = every[:MOST_TOKENS]
            self._whole = self._whole and tokens == every
            if base is not None:
                quality.check_same_tokens(ready.name, tokens, base.name, base.tokens)
            parts = []
            windows = list(quality.cut(tokens))
            for number, window in enumerate(windows, 1):
                _say(report, f"{ready.name}: part {number} of {len(windows)}")
                parts.append(score(worker, window, quality.LIKELIEST if self._reference is not None else 0))
        return _Scored(ready.name, contenders.describe(ready, info, None), tokens, quality.join(parts))

    def _fail(self, name: str, error: LfError) -> None:
        self.errors.append(error)
        detail = (error.detail or "").partition("\n")[0].strip()
        self._failures.append(f"{name}: {error.message}{f' ({detail})' if detail else ''}")


def read_text(path: Path | None) -> Text:
    """The text of a file, or the one that is built in.

    Raises:
        UsageError: the file cannot be read, or has no text.
    """
    if path is None:
        return Text(prose.NAME, prose.PROSE)
    content = read_text_file(path)
    if not content.strip():
        raise UsageError(f"`{path}` has no text to foretell")
    return Text(path.name, content)


def score(worker: Worker, tokens: Sequence[int], likeliest: int) -> Scores:
    """The scores of some tokens by a worker's model.

    Raises:
        LfError: its engine cannot tell, or failed.
    """
    return worker.score(tuple(tokens), likeliest).wait_for(protocol.Scored).scores


class _Scored(NamedTuple):
    """A text as one build foretells it."""

    name: str
    contender: Contender
    tokens: tuple[int, ...]
    scores: Scores


def _make_row(scored: _Scored, base: _Scored | None, *, is_reference: bool) -> Row:
    found = quality.measure(scored.scores)
    if base is None or is_reference:
        return Row(scored.contender, found, None, is_reference)
    following = [token for window in quality.cut(scored.tokens) for token in window[1:]]
    return Row(scored.contender, found, quality.compare(scored.scores, base.scores, following))


def _say(report: Callable[[Progress], None], line: str) -> None:
    report(Progress("quality", 0, detail={"line": line}))
