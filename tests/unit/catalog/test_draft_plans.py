"""A model that drafts for another: what it needs, and where it cannot."""

from __future__ import annotations

import pytest
from catalog_examples import LLAMA, ONNX, ONNX_VARIANT, QWEN3_4B, VARIANT, make_machine, make_model

from localfirst.catalog.fit import find_need
from localfirst.catalog.resolve import resolve
from localfirst.errors import LfError, NoFitError, RuntimeMissingError
from localfirst.types import Draft, Plan, Wanted
from localfirst.units import GIB

SMALL = make_model(VARIANT._replace(size_bytes=600_000_000), architecture=QWEN3_4B._replace(layers=28))
DRAFT = Draft(SMALL._replace(name="small"), SMALL.variants[0])


def choose(gib: float = 48, *, model=None, draft: Draft | None = DRAFT, **wanted) -> Plan:
    machine = make_machine(available_bytes=int(gib * GIB))
    asked = Wanted(draft=draft, **wanted)
    return resolve(model or make_model(VARIANT, ONNX_VARIANT), machine, (LLAMA, ONNX), wanted=asked).chosen


def test_a_draft_needs_weights_a_cache_and_a_buffer_of_its_own() -> None:
    alone = find_need(DRAFT.model, DRAFT.variant, 8192)
    plan, plain = choose(), choose(draft=None)
    assert plan.need
    assert plain.need
    assert alone
    assert plan.need.draft_bytes == alone.total_bytes - alone.runtime_bytes
    assert plan.need.total_bytes == plain.need.total_bytes + plan.need.draft_bytes
    assert (plan.draft, plain.draft) == (DRAFT, None)


def test_requests_at_the_same_time_have_each_a_cache_in_the_draft_too() -> None:
    one, four = choose().need, choose(requests=4).need
    assert one
    assert four
    cache_bytes = find_need(DRAFT.model, DRAFT.variant, 8192).kv_bytes  # type: ignore[union-attr]
    assert four.draft_bytes - one.draft_bytes == pytest.approx(3 * cache_bytes, rel=0.01)


def test_the_memory_of_the_draft_can_be_what_is_too_much() -> None:
    plain = choose(draft=None)
    assert plain.need
    huge = DRAFT._replace(variant=DRAFT.variant._replace(size_bytes=100 * GIB))
    with pytest.raises(NoFitError, match="needs 1"):
        choose(draft=huge)


def refuse(**facts) -> LfError:
    with pytest.raises(LfError) as raised:
        choose(**facts)
    return raised.value


def test_an_engine_that_takes_no_draft_is_not_chosen() -> None:
    assert choose().runtime == LLAMA
    error = refuse(model=make_model(ONNX_VARIANT))
    assert isinstance(error, RuntimeMissingError)
    assert "its engine takes no draft; you asked for --draft small" in error.message
    assert error.hint == "Leave out `--draft`, or name another model with it"


def test_a_draft_of_another_vocabulary_is_refused_before_anything_is_fetched() -> None:
    architecture = QWEN3_4B._replace(vocab_size=32_000)
    error = refuse(draft=DRAFT._replace(model=DRAFT.model._replace(architecture=architecture)))
    assert "small cannot draft for it: its vocabulary has 32,000 tokens, not 151,936" in (error.detail or "")
    filled_up = QWEN3_4B._replace(vocab_size=(QWEN3_4B.vocab_size or 0) + 128)
    assert choose(draft=DRAFT._replace(model=DRAFT.model._replace(architecture=filled_up))).runtime == LLAMA
