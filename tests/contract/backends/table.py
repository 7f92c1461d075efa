"""The contract's results as a table for people: every property on every engine, as this run has seen it.

pytest tests/contract/backends --engine-table docs/engines.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fixtures.result_table import Place, Results, describe_machine, render_table, say

from localfirst.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    import pytest

COMMAND = "pytest tests/contract/backends --engine-table docs/engines.md"


def find_place(item: pytest.Item) -> Place | None:
    """Which property and engine a case is about; cases of one engine alone are not of the contract."""
    engine = getattr(item, "callspec", None) and item.callspec.params.get("engine")  # type: ignore[attr-defined]
    return Place(say(item.originalname), engine.backend) if engine else None  # type: ignore[attr-defined]


def render(results: Results) -> str:
    """The whole page."""
    backends = list(dict.fromkeys(place.column for place in results))
    versions = {row.backend: f"{row.engine}, by {row.distribution} {row.version}" for row in reversed(RUNTIMES)}
    return "\n".join(
        [
            "# What every engine is held to",
            "",
            "One suite of tests, run on every engine alike, in the real engines on small real models. Written by",
            "",
            f"    {COMMAND}",
            "",
            f"on {describe_machine()}. Each row is a test, by its name; `yes` means that all its cases passed.",
            "",
            *(f"* `{backend}`: {versions[backend]}" for backend in backends if backend in versions),
            "",
            render_table(
                results,
                list(dict.fromkeys(place.row for place in results)),
                {backend: f"`{backend}`" for backend in backends},
            ),
        ]
    )
