"""The contract's results as a table for people: every property on every engine, as this run has seen it.

pytest tests/contract/backends --engine-table docs/engines.md
"""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, NamedTuple

from localfirst.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pytest

COMMAND = "pytest tests/contract/backends --engine-table docs/engines.md"


class Result(NamedTuple):
    """How one case of a property went on one engine. `reason` is why it was skipped."""

    outcome: str
    reason: str = ""


class EngineTable:
    """A pytest plugin that writes the table when the run ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cases: dict[str, tuple[str, str]] = {}
        self._results: dict[tuple[str, str], list[Result]] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Note which property and engine each case is about; cases of one engine alone are not of the contract."""
        for item in items:
            engine = getattr(item, "callspec", None) and item.callspec.params.get("engine")  # type: ignore[attr-defined]
            if engine:
                self._cases[item.nodeid] = (find_property(item.originalname), engine.backend)  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a case went: by its body, or by what kept it from running."""
        if report.nodeid in self._cases and (report.when == "call" or not report.passed):
            reason = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
            self._results.setdefault(self._cases[report.nodeid], []).append(Result(report.outcome, reason))

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(render(self._results, describe_machine()), encoding="utf-8")


def find_property(test: str) -> str:
    """What a test's name says."""
    return test.removeprefix("test_").replace("_", " ")


def describe_machine() -> str:
    """Where the run took place, as far as it matters."""
    return f"{platform.system()} {platform.machine()}, Python {sys.version_info.major}.{sys.version_info.minor}, CPU"


def render(results: dict[tuple[str, str], list[Result]], machine: str) -> str:
    """The whole page."""
    properties = list(dict.fromkeys(name for name, _ in results))
    backends = list(dict.fromkeys(backend for _, backend in results))
    reasons: list[str] = []
    rows = []
    for name in properties:
        cells = (_render_cell(results.get((name, backend), ()), reasons) for backend in backends)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    versions = {row.backend: f"{row.engine}, by {row.distribution} {row.version}" for row in reversed(RUNTIMES)}
    return "\n".join(
        [
            "# What every engine is held to",
            "",
            "One suite of tests, run on every engine alike, in the real engines on small real models. Written by",
            "",
            f"    {COMMAND}",
            "",
            f"on {machine}. Each row is a test, by its name; `yes` means that all its cases passed.",
            "",
            *(f"* `{backend}`: {versions[backend]}" for backend in backends if backend in versions),
            "",
            f"| | {' | '.join(f'`{backend}`' for backend in backends)} |",
            f"|---|{'---|' * len(backends)}",
            *rows,
            "",
            *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)),
        ]
    ).rstrip("\n") + "\n"  # fmt: skip


def _render_cell(results: Iterable[Result], reasons: list[str]) -> str:
    """One property on one engine; a skipped one refers to its reason below the table, which is put there."""
    outcomes = list(results)
    if any(result.outcome == "failed" for result in outcomes):
        return "**no**"
    skipped = {result.reason for result in outcomes if result.outcome == "skipped"}
    reasons += sorted(skipped - set(reasons))
    notes = ", ".join(str(reasons.index(reason) + 1) for reason in sorted(skipped))
    passed = any(result.outcome == "passed" for result in outcomes)
    if skipped:
        return f"{'yes, in part' if passed else 'not run'} ({notes})"
    return "yes" if passed else ""
