"""`lf run` that is interrupted before its model is loaded: it ends, and so has all that it started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.conftest import Lf
from tests.fixtures import scripted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_server_program_that_still_loads_is_gone_when_lf_is(lf: Lf, number: int, code: int, tmp_path: Path) -> None:
    scripted.make_gguf(tmp_path / "m.gguf", "Hello")
    program, mark = tmp_path / "llama-server", tmp_path / "started"
    stubborn = f"import signal, time; signal.signal(15, signal.SIG_IGN); open('{mark}', 'w'); time.sleep(600)"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{stubborn}"\n')
    program.chmod(0o755)
    lf.environment["LF_RUNTIME_LLAMA_SERVER"] = str(program)
    process = lf.start("run", str(tmp_path / "m.gguf"), "hi", "--backend", "llama-server")
    while not mark.exists():
        assert process.poll() is None
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    left = [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert (process.returncode, left, len(started)) == (code, [], 3)
    assert "Traceback" not in stderr


@pytest.mark.parametrize("module", ["typer", "localfirst.cli.run", "localfirst.services.planning"])
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_an_interrupt_while_lf_itself_is_imported_ends_it_as_at_any_other_time(
    lf: Lf, words: tuple[str, ...], module: str
) -> None:
    program = f"""
import runpy, signal, sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupted())
sys.argv[1:] = {["run", "starter", "hi", *words]!r}
runpy.run_module("localfirst", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=lf.env(), timeout=120)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (130, "", False)
