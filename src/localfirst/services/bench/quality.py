"""How well builds foretell a text, and how far they are from a reference: by the engines' own log-probabilities.

Each is loaded alone, one after the other: nothing is timed here, so they need not take turns.
"""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from localfirst import __version__
from localfirst.bench import prose, quality
from localfirst.bench.quality import Report, Row
from localfirst.bench.values import Contender, Workload
from localfirst.errors import EngineError, LfError, UsageError
from localfirst.services.bench import contenders
from localfirst.services.bench.run import name_machine
from localfirst.services.prompt import read_text_file
from localfirst.store import measurements
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


class Quality:
    """One measurement. `prepare`, `measure`, and in the end, however it came, `finish`."""

    def __init__(
        self, asked: Asked, reference: str | None, text: Text, allowed: Allowed, arguments: tuple[str, ...] = ()
    ) -> None:
        self._asked = asked._replace(workloads=(Workload(quality.WINDOW_TOKENS, 1),), scenarios=())
        self._reference, self._text, self._allowed, self._arguments = reference, text, allowed, arguments
        self.errors: list[LfError] = []
        """Why builds could not be measured, or not to the end."""
        self._failures: list[str] = []
        self._scored: list[_Scored] = []
        self._whole = True
        self._complete = False

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
        self._machine, self._at = found.ready[0].machine, datetime.now(UTC)
        known = {(ready.name, ready.load.placement) for ready, _ in self._ready}
        self._ready += [(one, False) for one in found.ready if (one.name, one.load.placement) not in known]

    def measure(self, report: Callable[[Progress], None]) -> None:
        """Score the text by each of them, the reference first; what was scored stays, whatever ends it.

        Raises:
            LfError: the reference could not be scored.
        """
        for ready, is_reference in self._ready:
            try:
                self._score(ready, is_reference, report)
            except LfError as error:
                if is_reference:
                    raise
                self._fail(ready.name, error)
        self._complete = not self.errors

    def finish(self) -> Report:
        """All that was found."""
        started = [one for one in self._scored if one.parts]
        base = next((one for one in started if one.is_reference), None)
        rows = tuple(_make_row(one, base) for one in started)
        return Report(
            at=f"{self._at:%Y-%m-%dT%H:%M:%S+00:00}",
            machine=measurements.find_key(self._machine),
            machine_name=name_machine(self._machine),
            system=f"{platform.system()} {platform.release()}",
            lf_version=__version__,
            arguments=self._arguments,
            text=self._text.name,
            text_sha256=hashlib.sha256(self._text.content.encode("utf-8", "replace")).hexdigest(),
            whole=self._whole,
            rows=rows,
            failures=tuple(self._failures),
            complete=self._complete,
        )

    def _score(self, ready: Ready, is_reference: bool, report: Callable[[Progress], None]) -> None:
        """Let a build score the text, once it is known to cut it as the reference does."""
        with Worker(ready.python) as worker:
            _say(report, f"{ready.name}: loading")
            info = worker.load(ready.load)
            every = worker.tokenize(self._text.content)
            tokens = every[:MOST_TOKENS]
            windows = tuple(quality.cut(tokens))
            if not windows:
                raise UsageError("The text is too short: it has no token that comes after another")
            base = next((one for one in self._scored if one.is_reference), None)
            if base is not None:
                quality.check_same_tokens(ready.name, tokens, base.name, base.tokens)
            self._whole = self._whole and tokens == every
            contender = contenders.describe(ready, info, None)
            scored = _Scored(ready.name, contender, tokens, windows, [], is_reference)
            self._scored.append(scored)
            for number, window in enumerate(windows, 1):
                _say(report, f"{ready.name}: part {number} of {len(windows)}")
                scores = score(worker, window, quality.LIKELIEST if self._reference is not None else 0)
                if len(scores.log_probs) != len(window) - 1:
                    raise EngineError(f"{info.engine} scored {len(scores.log_probs)} of {len(window) - 1} tokens")
                scored.parts.append(scores)

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
    windows: tuple[tuple[int, ...], ...]
    parts: list[Scores]
    """Of the windows until now."""
    is_reference: bool


def _make_row(scored: _Scored, base: _Scored | None) -> Row:
    scores = quality.join(scored.parts)
    comparison = None
    if base is not None and not scored.is_reference:
        count = len(scores.log_probs)
        following = [token for window in scored.windows for token in window[1:]][:count]
        comparison = quality.compare(scores, quality.begin(quality.join(base.parts), count), following)
    partial = len(scored.parts) < len(scored.windows)
    return Row(scored.contender, quality.measure(scores), comparison, scored.is_reference, partial)


def _say(report: Callable[[Progress], None], line: str) -> None:
    report(Progress("quality", 0, detail={"line": line}))
