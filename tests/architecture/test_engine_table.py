"""The table of what every engine is held to names the tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fixtures.result_table import say

from localfirst.backends.registry import BACKENDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/engines.md").read_text(encoding="utf-8")
TEST = re.compile(r"^def (test_\w+)\(", re.MULTILINE)


def test_every_property_of_the_contract_is_in_the_table() -> None:
    listed = set(re.findall(r"^\| ([^|`]+) \|", PAGE, re.MULTILINE))
    folder = ROOT / "tests/contract/backends"
    written = {say(name) for path in folder.glob("test_*.py") for name in TEST.findall(path.read_text())}
    contract = set(map(say, TEST.findall((folder / "test_contract.py").read_text())))
    assert listed <= written
    assert contract - listed == {"all engines compute the same answer from the same weights"}


def test_the_tables_engines_are_backends_and_none_is_said_to_fail() -> None:
    (head,) = re.findall(r"^\| \| (.+) \|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", head)) <= set(BACKENDS)
    assert "**no**" not in PAGE
