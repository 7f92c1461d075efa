from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.bench.values import Workload
from localfirst.bench.workload import MOST_TOKENS, MOST_VALUES, combine, find_context, parse_numbers, parse_pairs
from localfirst.errors import UsageError


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["512"], (512,)),
        (["512,1024"], (512, 1024)),
        (["512", "0, 7"], (512, 0, 7)),
        (["7,7"], (7,)),
        (["128-512+128"], (128, 256, 384, 512)),
        (["16-100*2"], (16, 32, 64)),
        (["3-5"], (3, 4, 5)),
        (["9-9"], (9,)),
    ],
)
def test_lists_and_ranges_are_read_as_llama_bench_reads_them(texts: list[str], numbers: tuple[int, ...]) -> None:
    assert parse_numbers("-p", texts) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1,,2",
        "-1",
        "1.5",
        "512x",
        "5-3",
        "0-8*2",
        "8-16*1",
        "8-16+0",
        "٣",
        "99999999999",
        "1-9-17",
        "7" * 5000,
        f"1-{'7' * 5000}",
    ],
)
def test_what_is_no_list_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"`-d ") as caught:
        parse_numbers("-d", [text])
    assert "-d 1,8" in str(caught.value.hint)


def test_a_range_without_a_step_is_no_work_of_days() -> None:
    with pytest.raises(UsageError, match="at most"):
        parse_numbers("-p", ["1-9999999"])


@given(st.lists(st.integers(0, MOST_TOKENS), min_size=1, max_size=MOST_VALUES, unique=True))
def test_numbers_come_back_as_they_were_written(numbers: list[int]) -> None:
    assert parse_numbers("-n", [",".join(map(str, numbers))]) == tuple(numbers)


@given(st.text("0123456789,-+*x ", max_size=12))
def test_any_text_is_a_list_or_a_usage_error(text: str) -> None:
    try:
        numbers = parse_numbers("-p", [text])
    except UsageError:
        return
    assert numbers
    assert all(0 <= number <= MOST_TOKENS for number in numbers)


@pytest.mark.parametrize("text", ["512", "512,0", "0,128", "a,b", "1,2,3", "-1,4", "", "7" * 5000 + ",1"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no pair"):
        parse_pairs([text])


def test_every_combination_is_measured_depth_by_depth() -> None:
    workloads = combine(prompts=(512, 0), answers=(128,), pairs=((64, 32),), depths=(0, 4096), concurrency=(1, 4))
    names = [one.name for one in workloads]
    assert names[:6] == ["pp512", "pp512 x4", "tg128", "tg128 x4", "pp64+tg32", "pp64+tg32 x4"]
    assert names[6:8] == ["pp512 @ d4096", "pp512 @ d4096 x4"]
    assert len(names) == len(set(names)) == 12
    assert find_context(workloads) == 4096 + 512


def test_a_scenario_has_no_depth_besides() -> None:
    chat = Workload(40, 64, scenario="chat")
    assert [one.name for one in combine(depths=(0, 64), scenarios=(chat,), concurrency=(1, 2))] == ["chat", "chat x2"]


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(UsageError, match="nothing to measure"):
        combine(prompts=(0,), answers=(0,))
