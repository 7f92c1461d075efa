"""The table of what clients of others do is of the clients, versions and rows that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contract.server.clients_table import CLIENTS, ELSE, FEATURES, describe

PAGE = (Path(__file__).parents[2] / "docs/clients.md").read_text(encoding="utf-8")


def test_every_client_is_in_the_table_with_the_version_that_is_pinned() -> None:
    (head,) = re.findall(r"^\| \| (.+) \|$", PAGE, re.MULTILINE)
    assert head.split(" | ") == [client.head for client in CLIENTS]
    assert [line for line in PAGE.splitlines() if line.startswith("* ")] == [describe(client) for client in CLIENTS]


def test_every_feature_is_in_the_table_and_none_is_said_to_fail() -> None:
    assert re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE) == [*(row for row, _ in FEATURES), ELSE]
    assert "**no**" not in PAGE
