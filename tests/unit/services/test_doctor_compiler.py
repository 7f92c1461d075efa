"""What `lf doctor` says of compiled engines."""

from __future__ import annotations

import pytest

from localfirst.runtimes.find import find_runtimes
from localfirst.services import engines, yardstick
from localfirst.services.check_compiler import check_compiler, judge_gain
from localfirst.services.yardstick import Gain
from localfirst.types import Rates

GAIN = Gain("llama-native", "llama-cpu", Rates(21.4, 130.0), Rates(12.4, 82.0))


def test_a_gain_is_told_with_its_numbers() -> None:
    check = judge_gain(GAIN)
    assert (check.state, check.hint) == ("ok", None)
    assert check.summary == (
        "against llama-cpu, llama-native decodes 1.73 times as fast here (21.4 and 12.4 tokens/s), "
        "and reads a prompt 1.59 times as fast"
    )


def test_what_only_reads_faster_is_a_gain_too_and_what_is_slower_in_both_is_to_be_removed() -> None:
    assert judge_gain(GAIN._replace(ours=Rates(12.0, 130.0))).state == "ok"
    slower = judge_gain(GAIN._replace(ours=Rates(12.0, None)))
    assert (slower.state, slower.hint) == ("note", "It is of no use here: `lf runtime remove llama-native`")


def test_where_a_compiler_is_the_build_is_offered_once(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "c++").write_text("#!/bin/sh\necho '#define __GNUC__ 13'\n")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    offered = tuple(one._replace(python=None) for one in find_runtimes("linux", "arm64"))
    monkeypatch.setattr(engines, "find_runtimes", lambda: offered)
    compiler, offer = check_compiler()
    assert (compiler.name, compiler.state, compiler.evidence) == ("Compiler", "ok", (str(tmp_path / "c++"),))
    assert offer.hint == "Type `lf runtime install llama-native`; it says by how much"
    assert yardstick.find_known(offered) is None


def test_without_a_compiler_nothing_is_offered(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    (check,) = check_compiler()
    assert check.summary == "none; engines come ready-made"


def test_what_cannot_be_compiled_for_a_system_asks_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localfirst.runtimes.find.this_system", lambda: ("darwin", "arm64"))
    monkeypatch.setattr("localfirst.services.engines.find_compiler", pytest.fail)
    assert engines.find_workshop("llama-native") is None
