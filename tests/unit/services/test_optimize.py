"""The plan of a build, on the machine that runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfirst.errors import DiskFullError, NoFitError, UsageError
from localfirst.runtimes.builder import Sizes
from localfirst.services import optimize
from localfirst.services.checkpoints import Source
from localfirst.services.optimize import Order


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path))


def make_source(parameters: int, fetch_bytes: int = 0) -> Source:
    return Source(
        label="hf:org/model@0123",
        name="model",
        architecture="LlamaForCausalLM",
        sizes=Sizes(parameters, parameters // 100, tied=False, weights_bytes=2 * parameters),
        fetch_bytes=fetch_bytes,
        license=None,
        root=Path("nowhere"),
        take=lambda _: (),
    )


def plan(source: Source, *, device: str = "cpu", precision: str | None = None, name: str | None = None) -> Order:
    return optimize.plan(source, optimize.choose(device=device, precision=precision, name=name), offline=False)


def test_the_name_says_what_it_is() -> None:
    order = plan(make_source(1000), device="cuda")
    assert (order.name, order.precision) == ("model-int4-cuda", "int4")
    assert plan(make_source(1000), precision="fp32", name="own").name == "own"


def test_a_model_that_the_builder_has_no_memory_for_is_refused() -> None:
    with pytest.raises(NoFitError, match="Not enough memory to build hf:org/model@0123: about"):
        plan(make_source(10**15))


def test_weights_that_have_no_room_are_refused() -> None:
    with pytest.raises(DiskFullError):
        plan(make_source(1000, fetch_bytes=10**18))


@pytest.mark.parametrize("name", ["Not A Name", "phi-4-mini", "../up"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        optimize.choose(device="cpu", precision=None, name=name)
