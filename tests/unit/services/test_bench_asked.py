"""What the words of `lf bench` mean, and what makes figures doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.bench.bench_values import make_sample

from localfirst.backends.base import LoadedInfo
from localfirst.bench.values import Workload
from localfirst.errors import UsageError
from localfirst.services.bench.asked import make_workloads, read_scenarios
from localfirst.services.bench.marks import find_marks
from localfirst.services.bench.repetition import Outcome

INFO = LoadedInfo("litert", "LiteRT-LM", "0.18", 1024, "CPU", "cpu", 1, None, ignores_end=False)


def name(**options: list[str]) -> list[str]:
    given = {"prompts": [], "answers": [], "pairs": [], "depths": [], "concurrency": [], **options}
    scenarios = read_scenarios(given.pop("scenarios", []))
    return [one.name for one in make_workloads(**given, scenarios=scenarios)]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["pp512", "tg128"]),
        ({"prompts": ["64"]}, ["pp64", "tg128"]),
        ({"prompts": ["0"], "answers": ["16,32"]}, ["tg16", "tg32"]),
        ({"pairs": ["512,128"]}, ["pp512", "tg128", "pp512+tg128"]),
        ({"scenarios": ["chat"]}, ["chat"]),
        ({"scenarios": ["chat", "rag"], "answers": ["8"]}, ["tg8", "chat", "rag"]),
        ({"scenarios": ["code"], "concurrency": ["1,2"]}, ["code", "code x2"]),
    ],
)
def test_what_is_not_said_is_as_llama_bench_has_it(options: dict[str, list[str]], names: list[str]) -> None:
    assert name(**options) == names


def test_a_scenario_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("What is in here?", encoding="utf-8")
    (scenario,) = read_scenarios([str(path)])
    assert (scenario.name, scenario.text) == ("notes.txt", "What is in here?")


def test_texts_of_the_same_name_are_not_measured_as_one(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(folder)
    with pytest.raises(UsageError, match=r"Two texts are called `x\.txt`"):
        read_scenarios([str(tmp_path / "a" / "x.txt"), str(tmp_path / "b" / "x.txt")])
    (tmp_path / "chat").write_text("mine")
    with pytest.raises(UsageError, match="Two texts are called `chat`"):
        read_scenarios(["chat", str(tmp_path / "chat")])


def test_a_text_in_place_of_its_file_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="is no scenario, and no file"):
        read_scenarios(["What is the weather like? " * 20])


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe\x00", b"a\x00b"])
def test_a_file_that_is_no_text_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError):
        read_scenarios([str(path)])


@pytest.mark.parametrize("option", ["prompts", "answers", "pairs", "depths", "concurrency"])
def test_a_bad_value_of_any_option_is_a_usage_error(option: str) -> None:
    with pytest.raises(UsageError):
        name(**{option: ["nonsense"]})


def test_nobody_asks_no_requests_at_a_time() -> None:
    with pytest.raises(UsageError, match="--concurrency 0"):
        name(concurrency=["0"])


def find(workload: Workload, *outcomes: Outcome, **seen: object) -> tuple[str, ...]:
    quiet = {"busy_share": 0.02, "throttled": False, "on_battery": False}
    return find_marks(workload, outcomes, INFO, **quiet | seen)


def test_a_quiet_machine_leaves_no_mark() -> None:
    outcomes = [Outcome(make_sample(prefill_tps=rate), prompt_tokens=512) for rate in (100.0, 101.0, 99.0)]
    assert find(Workload(512, 0), *outcomes) == ()
    assert find(Workload(512, 0), *outcomes, busy_share=None) == ()


def test_whatever_makes_a_figure_doubtful_is_said() -> None:
    outcome = Outcome(make_sample(decode_tps=10.0), ended_early=37, prompt_tokens=500)
    marks = find(Workload(512, 128, concurrency=4), outcome, busy_share=0.314, throttled=True, on_battery=True)
    assert marks == (
        "the machine was busy (others took 30% of its processors)",
        "the machine held itself back, for its heat or its power",
        "it ran on battery",
        "answers ended early (after 37 of 128 tokens), and LiteRT-LM cannot be made to go on",
        "LiteRT-LM computes 1 of 4 requests at a time; the others wait",
        "prompts had 500 tokens, not 512",
    )


def test_repetitions_that_differ_widely_are_told() -> None:
    outcomes = [Outcome(make_sample(decode_tps=rate)) for rate in (10.0, 20.0)]
    assert find(Workload(0, 128), *outcomes) == ("the repetitions differ widely",)
