"""Lists of the shipped catalog on recorded machines: what is left out, in which order, and what is said of a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localfirst.errors import AmbiguousNameError, UsageError
from localfirst.services.listing import SORTS, Filter, explain_nothing, list_models
from localfirst.services.machines import find_machine
from localfirst.services.planning import NOTHING_WANTED, describe_model, make_wanted, plan_model
from localfirst.types import Plan


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all: nothing that is listed here changes it, and the catalog is parsed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LF_HOME", str(tmp_path_factory.mktemp("lf-home")))
        yield


def listed(profile: str = "rtx-4090-desktop", *, sort: str = "best", every_build: bool = False, **only: object):
    return list_models(find_machine(profile), only=Filter(**only), sort=sort, every_build=every_build)  # type: ignore[arg-type]


def test_every_model_is_listed_once_and_its_best_plan_comes_first() -> None:
    names = [plan.model.name for plan in listed()]
    assert len(set(names)) == len(names)
    every = [plan for plan in listed(every_build=True) if plan.model.name == "phi-4-mini"]
    best = next(plan for plan in listed() if plan.model.name == "phi-4-mini")
    assert every[0] == best
    assert {plan.variant.name for plan in every} == {variant.name for variant in best.model.variants}


@pytest.mark.parametrize(
    ("only", "holds"),
    [
        pytest.param({"fits": True}, lambda plan: plan.verdict != "no" and plan.need, id="fits"),
        pytest.param({"vendor": "MICROSOFT"}, lambda plan: plan.model.vendor == "Microsoft", id="vendor"),
        pytest.param({"task": "embedding"}, lambda plan: plan.model.task == "embedding", id="task"),
        pytest.param({"license": "MIT"}, lambda plan: plan.model.license == "mit", id="license"),
        pytest.param({"format": "onnx"}, lambda plan: plan.variant.format == "onnx", id="format"),
        pytest.param({"max_size_bytes": 10**9}, lambda plan: plan.variant.size_bytes <= 10**9, id="size"),
        pytest.param({"installed": True}, lambda plan: plan.model.name == "starter", id="installed"),
        pytest.param(
            {"words": ("QWEN",)},
            lambda plan: "qwen" in plan.model.title.lower() or plan.model.vendor == "Qwen",
            id="text",
        ),
        pytest.param({"words": ("microsoft",)}, lambda plan: plan.model.vendor == "Microsoft", id="text-of-vendor"),
        pytest.param({"words": ("gemma3", "12b")}, lambda plan: plan.model.name == "gemma-3-12b", id="texts"),
    ],
)
def test_a_filter_leaves_out_what_it_does_not_name(only: dict[str, object], holds) -> None:
    kept = listed(**only)
    assert kept
    assert [plan.model.name for plan in kept if not holds(plan)] == []
    assert len(kept) < len(listed())


def speed(plan: Plan) -> float:
    return plan.speed.low_tps or 0


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("name", lambda plan: plan.model.name),
        ("params", lambda plan: -(plan.model.parameters or 0)),
        ("size", lambda plan: plan.variant.size_bytes),
        ("need", lambda plan: plan.need.total_bytes),
        ("speed", lambda plan: -speed(plan)),
        ("best", lambda plan: (not plan.installed, -(plan.model.parameters or 0))),
    ],
)
def test_a_list_is_in_the_order_asked_for(sort: str, key) -> None:
    plans = listed(sort=sort, fits=True)
    assert [key(plan) for plan in plans] == sorted(key(plan) for plan in plans)
    assert sort in SORTS


@pytest.mark.parametrize(
    ("only", "message", "hint"),
    [
        ({"vendor": "microsft"}, "`--vendor` does not know `microsft`", "Did you mean `microsoft`?"),
        ({"format": "ggml"}, "`--format` does not know `ggml`", None),
        ({"task": "dance"}, "`--task` does not know `dance`", None),
        ({"license": "gpl"}, "`--license` does not know `gpl`", None),
        ({"vendor": "nope"}, "`--vendor` does not know `nope`", None),
    ],
)
def test_a_word_that_nothing_has_is_answered_with_those_that_are_known(only, message, hint) -> None:
    with pytest.raises(UsageError) as caught:
        listed(**only)
    assert caught.value.message == message
    assert caught.value.hint in {hint, "Did you mean `gguf`?"}
    assert caught.value.detail is not None
    assert caught.value.detail.startswith("known: ")


def test_demands_are_judged_model_by_model() -> None:
    machine = find_machine("rtx-4090-desktop")
    on_cpu = list_models(machine, only=Filter(fits=True), wanted=make_wanted(device="cpu"))
    assert {plan.placement for plan in on_cpu} == {"cpu"}
    fast = list_models(machine, only=Filter(fits=True), wanted=make_wanted(min_tps=100))
    assert fast
    assert all((plan.speed.high_tps or 0) >= 100 for plan in fast if plan.model.task != "embedding")
    official = list_models(machine, only=Filter(fits=True), wanted=make_wanted(tier="vendor"))
    assert {plan.variant.tier for plan in official} == {"vendor"}


@pytest.mark.parametrize("word", ["runtime-vendor", "engine's maker", "Engine's Maker"])
def test_a_tier_may_be_typed_as_lists_show_it(word: str) -> None:
    assert make_wanted(tier=word).tier == "runtime-vendor"


def test_an_unknown_tier_is_answered_with_what_each_means() -> None:
    with pytest.raises(UsageError) as caught:
        make_wanted(tier="official")
    assert "platform: published by a conversion platform" in (caught.value.detail or "")


def test_a_backend_and_a_build_may_be_typed_with_their_marks() -> None:
    wanted = make_wanted(backend="#onnx", quantization="@q4_0")
    assert (wanted.backend, wanted.quantization) == ("onnx", "q4_0")


@pytest.mark.parametrize("bad", [{"tier": "best"}, {"device": "tpu"}])
def test_a_demand_that_nothing_can_meet_is_a_mistake(bad: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"No (tier|device)"):
        make_wanted(**bad)  # type: ignore[arg-type]


def test_the_word_of_an_order_may_be_in_any_case() -> None:
    assert [plan.model.name for plan in listed(sort="Name")] == [plan.model.name for plan in listed(sort="name")]


def test_fits_shows_a_build_of_known_size_where_the_best_one_is_of_unknown_size() -> None:
    best = {plan.model.name: plan for plan in listed()}
    shown = {plan.model.name: plan for plan in listed(fits=True)}
    unknown = [name for name in shown if best[name].need is None]
    assert unknown
    assert all(shown[name].need is not None for name in shown)


@pytest.mark.parametrize(
    ("profile", "filtered", "asked", "said"),
    [
        ("rtx-4090-desktop", {"fits": True}, {"device": "npu"}, "this machine has no NPU; leave out `--device npu`"),
        ("raspberry-pi-5-8gb", {}, {"device": "gpu"}, "leave out `--device gpu`"),
        ("macbook-air-m2-8gb", {}, {"device": "npu"}, "Apple Neural Engine: reachable through Core ML only"),
        ("macbook-air-m2-8gb", {"installed": True}, {}, "No models are on this disk; `lf list --fits`"),
        ("rtx-4090-desktop", {"max_size_bytes": 1, "fits": True}, {}, "within `--fits` and `--max-size`"),
        ("rtx-4090-desktop", {"words": ("no", "such")}, {}, "none is called `no such`; `lf list` shows every one"),
        ("rtx-4090-desktop", {"words": ("qwen",), "fits": True}, {}, "none is called `qwen` within `--fits`;"),
        ("rtx-4090-desktop", {"fits": True}, {"context_tokens": 10**9}, "within `--fits` and `--ctx`"),
    ],
)
def test_a_list_with_nothing_in_it_says_why_and_what_to_type(
    profile: str, filtered: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    assert said in explain_nothing(Filter(**filtered), NOTHING_WANTED._replace(**asked), find_machine(profile))


def test_a_name_of_several_models_says_of_each_whether_it_fits_and_names_the_largest_that_does() -> None:
    with pytest.raises(AmbiguousNameError) as caught:
        plan_model("gemma3", NOTHING_WANTED, find_machine("raspberry-pi-5-8gb"))
    lines = dict(text.split("  ", 1) for text in (caught.value.detail or "").splitlines())
    assert tuple(lines) == caught.value.names
    assert lines["gemma-3-4b"].endswith(" GB, fits)")
    assert lines["gemma-3-27b"].endswith("does not run here)")
    assert caught.value.hint == "Name one of them: gemma-3-4b is the largest that fits here"


def test_what_fits_is_said_of_a_published_name_too() -> None:
    with pytest.raises(AmbiguousNameError, match="family") as caught:
        describe_model("google/gemma-3", find_machine("raspberry-pi-5-8gb"))
    assert (caught.value.hint or "").startswith("Name one of them: gemma-3-4b is the largest that fits here; a repo")
