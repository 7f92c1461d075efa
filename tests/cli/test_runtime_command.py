"""`lf runtime install` of an engine that is compiled here: it says what it takes, and asks."""

from __future__ import annotations

import sys

import pexpect
import pytest
from tests.conftest import Lf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines are compiled on Linux")


def test_without_a_terminal_it_says_what_it_takes_and_does_not_begin(lf: Lf) -> None:
    done = lf("runtime", "install", "llama-native")
    assert done.returncode == 2
    assert "minutes" in done.stderr
    assert "Say so with `-y`" in done.stderr
    assert not (lf.home / "runtimes").exists()


def test_on_a_terminal_it_asks_and_takes_no_for_an_answer(lf: Lf) -> None:
    words = lf.command("runtime", "install", "llama-native")
    child = pexpect.spawn(words[0], words[1:], env=lf.env(), encoding="utf-8", timeout=30)
    child.expect(r"Compiling llama\.cpp for this processor by .* minutes.*Begin\? \[Y/n\]")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert not (lf.home / "runtimes").exists()


def test_without_a_compiler_it_says_what_to_type_and_asks_nothing(lf: Lf) -> None:
    lf.environment["CXX"] = "/no/such/compiler"
    done = lf("runtime", "install", "llama-native", "-y")
    assert done.returncode == 8
    assert "CXX names no compiler: /no/such/compiler" in done.stderr


def test_what_is_only_offered_is_chosen_by_nothing_and_says_how_to_get_it(lf: Lf) -> None:
    explained = lf("model", "explain", "starter").stdout
    assert "llama-cpu" in explained
    assert not any(name in explained for name in ("llama-native", "llama-py"))
    assert "hint: Type `lf runtime install llama-native`" in lf("run", "starter#llama-cpp-python", "hi").stderr
    done = lf("run", "starter#llama-native", "hi")
    assert done.returncode == 8
    assert done.stderr.splitlines()[0] == (
        "error: The runtime `llama-native` is not installed, and only is when you say so"
    )
    assert done.stderr.splitlines()[-1] == "hint: Type `lf runtime install llama-native`"
    listed = lf("runtime", "list").stdout
    assert "only if you ask" in listed
