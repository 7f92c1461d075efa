"""`lf bench --api` and `lf run remote:` against `lf serve`, which like OpenAI's API refuses what it does not know."""

from __future__ import annotations

import json

from tests.conftest import Lf
from tests.fixtures.engines import need_engine
from tests.fixtures.serving import serving


def test_what_lf_serves_is_measured_by_its_address(lf: Lf) -> None:
    need_engine("xllamacpp")
    with serving(lf) as server:
        name = f"{server.url}@starter"
        done = lf("bench", "--api", name, "-p", "32", "-n", "64", "-r", "2", "--warmup", "0", "-o", "json")
        said = lf("run", f"remote:{name}", "hi", "--json")
    assert done.returncode == 0, done.stderr
    reading, writing = json.loads(done.stdout)["series"]
    assert all(sample["prefill_tps"] > 0 for sample in reading["samples"])
    assert all(sample["decode_tps"] > 0 for sample in writing["samples"])
    assert any("ended early" in mark and "cannot be made to go on" in mark for mark in writing["marks"])
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["usage"]["completion_tokens"] > 8
    assert told["timings"]["prefill_tps"] > 0
