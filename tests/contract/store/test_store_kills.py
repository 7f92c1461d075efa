"""Commands that change the store, killed at random moments. `benchmarks/kill_loop.py` does so for longer."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from tests.fixtures.hub import Hub
from tests.fixtures.kills import Loop


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_no_kill_damages_a_model_or_leaves_anything_behind(tmp_path: Path, hub: Hub) -> None:
    loop = Loop(tmp_path / "loop", hub, random.Random())  # noqa: S311 - another place each time; its seed is not needed
    while sum(loop.kills.values()) < 20:
        loop.go_round()
    assert loop.tidy() == []
    assert loop.worst_share <= 1.05
