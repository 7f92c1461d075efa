"""`lf bench` where a server has the model loaded: measured there where it is asked for or nothing else is possible."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from tests.conftest import Lf
from tests.fixtures.serving import Server, serving

from localfirst.bench.values import THROUGH, Workload
from localfirst.errors import NoFitError
from localfirst.hwprobe.probe import probe
from localfirst.server.through import find_held
from localfirst.services import planning
from localfirst.services.bench.asked import Asked
from localfirst.services.bench.run import Run
from localfirst.services.preparing import Allowed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and sockets")
SHORT = ("-p", "16", "-n", "4", "-r", "2", "--warmup", "0")


@pytest.fixture
def server(home: Lf) -> Iterator[Server]:
    with serving(home) as running:
        assert home("load", "slow").returncode == 0
        yield running


def measure(home: Lf, *words: str) -> dict:
    done = home("bench", "slow", *SHORT, "-o", "json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_the_server_has_is_measured_there(home: Lf, server: Server) -> None:
    (worker,) = server.find_workers()
    first, second = measure(home, "--server"), measure(home, "--server")
    assert server.find_workers() == [worker]
    for bench in (first, second):
        assert len(bench["series"]) == 2
        for one in bench["series"]:
            assert THROUGH in one["marks"]
            assert one["load"] == {"cold_s": None, "warm_s": None}
            assert one["peak_bytes"] is None
            assert one["contender"]["digest"]
        reading, writing = bench["series"]
        assert [one["prompt_tokens"] + one["cached_tokens"] for one in reading["samples"]] == [16, 16]
        assert all(one["cached_tokens"] < 4 for one in reading["samples"])  # no prompt of an earlier bench
        assert [one["completion_tokens"] for one in writing["samples"]] == [4, 4]
    done = home("bench", "compare", "last~1", "last", "--json")
    assert len(json.loads(done.stdout)["pairs"]) == 2
    assert "through the server" in home("bench", "history", "slow").stdout


def test_it_is_never_compared_with_what_a_worker_did(home: Lf, server: Server) -> None:
    own = measure(home)
    assert all(THROUGH not in one["marks"] for one in own["series"])
    measure(home, "--server")
    done = home("bench", "compare", "last~1", "last")
    assert "measured: by itself before, through the server after" in done.stdout
    assert "Not compared" in done.stdout


def test_what_the_server_has_otherwise_or_not_at_all_is_refused(home: Lf, server: Server) -> None:
    done = home("bench", "slow", *SHORT, "--server", "--threads", "99")
    assert done.returncode == 11
    assert "not 99" in done.stderr
    done = home("bench", "greeter", *SHORT, "--server")
    assert done.returncode == 11
    assert "lf load greeter" in done.stderr
    assert home("bench", "slow", "--server", "--batch", "64").returncode == 2
    assert home("bench", "slow", "--server", "--quality").returncode == 2


@pytest.mark.parametrize("is_loaded", [True, False])
def test_what_does_not_fit_beside_the_server_is_measured_there(
    home: Lf, server: Server, monkeypatch: pytest.MonkeyPatch, is_loaded: bool
) -> None:
    """The machine as it would be found where the server had taken nearly all of the memory."""
    machine = probe()
    little = machine._replace(memory=machine.memory._replace(available_bytes=2**20))
    monkeypatch.setenv("LF_HOME", str(home.home))
    monkeypatch.setattr(planning, "probe", lambda: little)
    name = "slow" if is_loaded else "greeter"
    asked = Asked((name,), (Workload(16, 0),), repetitions=1, warmups=0)
    run = Run(asked, ("bench",), Allowed(network=False, install=False), find_held)
    if not is_loaded:
        with pytest.raises(NoFitError):
            run.prepare()
        return
    run.prepare()
    run.measure()
    (one,) = run.finish().series
    assert THROUGH in one.marks
