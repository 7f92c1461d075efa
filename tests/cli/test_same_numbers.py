"""Sizes, needs and contexts of one build are the same in every command, whatever the catalog knows of it.

The catalog's numbers are those of the publisher's file; what is served here under its name is a far smaller one, so
that a command that computes with the catalog's after the fetch is found out.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Lf
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_gguf

from localfirst.units import format_bytes

KEYS = ("variant", "runtime", "size_bytes", "need_bytes", "context_tokens", "verdict", "state")


def test_a_build_on_this_disk_has_the_same_numbers_everywhere(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "model.gguf", "Terms and all.")
    data = (tmp_path / "model.gguf").read_bytes()
    with Hub() as hub:
        hub.add_repo("LiquidAI/LFM2-350M-GGUF", {"LFM2-350M-Q4_K_M.gguf": data})
        lf.environment |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        (listed,) = (one for one in json.loads(lf("list", "--json").stdout)["models"] if one["name"] == "lfm2-350m")
        assert (listed["license_to_accept"], listed["size_bytes"] > 10**8) == (True, True)
        assert "licence terms" in next(row for row in lf("list").stdout.splitlines() if "lfm2-350m" in row)
        assert lf("pull", "lfm2-350m", "--accept-license").returncode == 0
        there = json.loads(lf("list", "--installed", "--json").stdout)["models"]
        (listed,) = (one for one in there if one["name"] == "lfm2-350m")
        info = json.loads(lf("model", "info", "lfm2-350m", "--json").stdout)
        explained = json.loads(lf("model", "explain", "lfm2-350m", "--json").stdout)["chosen"]
        run = lf("run", "lfm2-350m", "hi", "-v")
    assert listed["size_bytes"] == len(data)
    assert listed["license_to_accept"] is False
    for told in (info["plans"][0], explained):
        assert {key: told[key] for key in KEYS} == {key: listed[key] for key in KEYS}
    (variant,) = (one for one in info["variants"] if one["name"] == listed["variant"])
    assert variant["size_bytes"] == len(data)
    assert f" Needs {format_bytes(listed['need_bytes'])} of " in " ".join(run.stderr.split())
