"""What happens with a finished bench: it is kept, found again, and held against another one."""

from __future__ import annotations

import json
import os
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.bench import serialize
from localfirst.bench.compare import Comparison, compare, find_worse
from localfirst.errors import BenchBelowError, BenchFileError, LfError, UsageError
from localfirst.store import qualities, results
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.bench.compare import Change, Pair
    from localfirst.bench.quality import Report
    from localfirst.bench.values import Bench

MOST_BYTES = 2**28
"""A file of results is no larger: a bench of a day has some MB."""


def keep(bench: Bench, say: Callable[[str], None]) -> tuple[Bench, bool]:
    """Keep a bench that took its time; the bench with the id under which it is kept, and whether it is.

    Where it is not, it is written to the system's folder for temporary files, and `say` hears why, and where it is.
    """
    try:
        return results.save(bench, say), True
    except LfError as error:
        say(f"This bench is not kept: {error.message} ({' '.join((error.detail or '').split())})")
        try:
            descriptor, name = tempfile.mkstemp(prefix=f"lf-bench-{bench.id}-", suffix=".json")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(serialize.to_json(bench), file)
        except OSError:
            say("Nor can it be written anywhere else: what is printed here is all there is of it")
        else:
            say(f"It is in {name}, which `lf bench compare`, `export` and `report` read")
        return bench, False


def keep_quality(report: Report, say: Callable[[str], None]) -> None:
    """Keep what was found of a text; where it cannot be kept, `say` hears why."""
    try:
        qualities.save(report, say)
    except LfError as error:
        detail = " ".join((error.detail or "").split())
        why = f"{error.message} ({detail})" if detail else error.message
        say(f"This is not kept: {why}; what is printed is all there is of it")


def list_qualities(model: str | None, number: int, say: Callable[[str], None]) -> tuple[Report, ...]:
    """What was found of texts (by builds of a model, where one is named), the newest first.

    Raises:
        StoreError: it cannot be read.
    """
    found = (
        one._replace(rows=tuple(row for row in one.rows if model is None or _is_of(row.contender.model, model)))
        for one in qualities.load(say)
    )
    return tuple(islice((one for one in found if one.rows), number))


def find(name: str, say: Callable[[str], None]) -> Bench:
    """A bench by its id, a part of that, `last`, `last~1`, or the name of a JSON file.

    Raises:
        BenchFileError: the file is none of a bench.
        StoreError: what is kept cannot be read.
        UnknownNameError: there is no such bench.
    """
    path = Path(name)
    is_file = path.suffix == ".json" or (paths.is_file(path) and not results.is_last(name))
    return read(path) if is_file else results.load(name, say)


def read(path: Path) -> Bench:
    """The bench of a JSON file.

    Raises:
        BenchFileError: it cannot be read, or is none of a bench.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BenchFileError(
            f"{path} cannot be read: {error.strerror}", hint="`lf bench history` lists ids."
        ) from error
    if len(data) > MOST_BYTES:
        raise BenchFileError(f"{path} is no result of a bench: it has more than {format_bytes(MOST_BYTES)}")
    try:
        return serialize.parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BenchFileError(f"{path} is no result of a bench: no text", detail=str(error)) from error
    except BenchFileError as error:
        error.detail = "\n".join(filter(None, (str(path), error.detail)))
        raise


def list_benches(model: str | None, number: int, say: Callable[[str], None]) -> tuple[Bench, ...]:
    """The latest benches (of a model, where one is named), the newest first, without the gaps between pieces.

    Raises:
        StoreError: they cannot be read.
    """
    found: list[Bench] = []
    for entry in results.list_entries(say):
        if len(found) == number:
            break
        for bench in results.load_figures([entry.id], say):
            series = tuple(one for one in bench.series if model is None or _is_of(one.contender.model, model))
            if series or model is None:
                found.append(bench._replace(series=series))
    return tuple(found)


def _is_of(name: str, model: str) -> bool:
    return name.lower() == model.partition("@")[0].partition("#")[0].lower()


def compare_named(before: str, after: str, say: Callable[[str], None]) -> Comparison:
    """Two benches, as `find` knows them, against each other.

    Raises:
        UsageError: both are the same one.
        LfError: one of them cannot be found or read.
    """
    old, new = find(before, say), find(after, say)
    if old == new:
        raise UsageError(
            f"Both are the bench `{new.id}`", hint="Name an earlier one: `lf bench compare last~1`, `lf bench history`"
        )
    return compare(old, new)


def require(comparison: Comparison, bar: float) -> None:
    """Make sure that nothing is worse by more than a share (0.05 for 5 %), outside noise.

    Raises:
        BenchBelowError: something is, or nothing could be judged at all.
    """
    worse = find_worse(comparison, bar)
    if worse:
        raise BenchBelowError(
            f"{len(worse)} figure{' is' if len(worse) == 1 else 's are'} worse by more than {bar:.1%}".replace(
                ".0%", "%"
            ),
            detail="\n".join(_say_worse(pair, change) for pair, change in worse),
        )
    verdicts = [change.verdict for pair in comparison.pairs for change in pair.changes]
    if all(verdict == "unknown" for verdict in verdicts):
        raise BenchBelowError(
            "Nothing could be held to the bar",
            detail="Single repetitions do not say how far they vary."
            if verdicts
            else "The two have nothing in common.",
            hint="Measure at least twice, better five times: `-r 5`." if verdicts else None,
        )


def _say_worse(pair: Pair, change: Change) -> str:
    series, marks = pair.after, [*pair.before.marks, *pair.after.marks]
    doubt = f"; doubtful: {marks[0]}" if marks else ""
    where = f"{series.contender.model} in {series.contender.runtime}, {series.workload.name}, {change.figure.name}"
    return f"{where}: worse by {change.worse:.1%}{doubt}"
