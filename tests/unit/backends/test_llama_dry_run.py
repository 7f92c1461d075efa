from __future__ import annotations

import pytest

from localfirst.backends.llama_cpp.dry_run import Footprint, parse_footprint, require_fit
from localfirst.errors import NoFitError
from localfirst.units import MIB

LOG = """\
llama_context:        CPU  output buffer size =     1.00 MiB
llama_kv_cache:        CPU KV buffer size =     0.00 MiB
llama_kv_cache: size =   32.00 MiB (  8192 cells,   4 layers,  1/1 seqs), K (f16):   16.00 MiB, V (f16):   16.00 MiB
llama_kv_cache: size =   22.00 MiB (  1024 cells,  22 layers,  1/1 seqs), K (f16):   11.00 MiB, V (f16):   11.00 MiB
llama_memory_recurrent: size =    4.50 MiB (     1 cells,  24 layers,  1 seqs), R (f32):    0.50 MiB, S (f32): 4.00 MiB
sched_reserve:        CPU compute buffer size =    66.25 MiB
""".splitlines()


def test_caches_states_and_buffers_are_added_up() -> None:
    footprint = parse_footprint(100 * MIB, LOG)
    assert footprint == Footprint(100 * MIB, int(58.5 * MIB), int(67.25 * MIB))
    assert footprint.total_bytes == int(225.75 * MIB)


@pytest.mark.parametrize("budget_bytes", [None, 226 * MIB, int(225.75 * MIB)])
def test_what_fits_or_whose_room_is_unknown_is_let_through(budget_bytes: int | None) -> None:
    require_fit(parse_footprint(100 * MIB, LOG), budget_bytes, 8192, "model.gguf")


def test_what_does_not_fit_is_refused_with_its_parts() -> None:
    with pytest.raises(NoFitError) as caught:
        require_fit(parse_footprint(100 * MIB, LOG), 200 * MIB, 8192, "model.gguf")
    assert caught.value.message == (
        "model.gguf needs 237 MB of memory at a context of 8,192 tokens, 210 MB is free for it"
    )
    assert caught.value.detail == (
        "weights 105 MB, cache 61.3 MB, computing 70.5 MB, as llama.cpp counts before loading"
    )
    assert "--ctx" in (caught.value.hint or "")
