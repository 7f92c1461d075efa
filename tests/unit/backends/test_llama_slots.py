"""Which slot of llama.cpp's server a request is given."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends.llama_cpp.slots import ANY, Slots, count_common
from localfirst.choices import LLAMA_BATCH_TOKENS

LONG = tuple(range(1000, 1000 + 4 * LLAMA_BATCH_TOKENS))
TOKENS = st.lists(st.integers(0, 3))


def take_all(slots: Slots, *prompts: int) -> list[int]:
    return [slots.take((prompt,)) for prompt in prompts]


def test_requests_at_a_time_lie_side_by_side() -> None:
    slots = Slots(8)
    for number in (6, 1, 4):  # as others left them
        take_all(slots, *range(8))
        for one in range(8):
            slots.leave((one + number) % 8)
        taken = sorted(take_all(slots, 11, 12, 13, 14))
        assert taken == list(range(taken[0], taken[0] + 4))
        for one in taken:
            slots.leave(one)


def test_a_gap_is_filled() -> None:
    slots = Slots(8)
    take_all(slots, *range(8))
    for one in (0, 3, 7):
        slots.leave(one)
    assert slots.take((20,)) == 3


def test_who_comes_again_finds_what_was_read() -> None:
    slots = Slots(4)
    first = slots.take(LONG)
    slots.leave(first)
    for prompt in ((1, 2), (3, 4), (5, 6)):
        slots.leave(slots.take(prompt))
    assert slots.take((*LONG, 7, 8)) == first


def test_a_new_prompt_spares_what_was_read_last() -> None:
    slots = Slots(3)
    taken = []
    for prompt in ((1, *LONG[:40]), (1, *LONG[50:90]), (1, *LONG[100:140])):  # all begin with one token
        taken.append(slots.take(prompt))
        slots.leave(taken[-1])
    assert sorted(taken) == [0, 1, 2]
    assert slots.take((1, *LONG[200:240])) == taken[0]


def test_less_than_a_batch_is_no_reason_to_lie_apart() -> None:
    slots = Slots(8)
    knowing = slots.take(LONG)
    between, busy = take_all(slots, 1, 2)
    slots.leave(knowing)
    slots.leave(between)
    assert abs(knowing - busy) == 2
    assert abs(slots.take((*LONG[: LLAMA_BATCH_TOKENS - 1], 9)) - busy) == 1
    assert slots.take((*LONG, 9)) == knowing


def test_all_taken_leaves_the_choice_to_the_server() -> None:
    slots = Slots(2)
    taken = take_all(slots, 1, 2, 3)
    assert taken == [0, 1, ANY]
    slots.leave(ANY)
    assert slots.take((4,)) == ANY
    slots.leave(1)
    assert slots.take((4,)) == 1


@given(st.lists(st.one_of(st.integers(0, 5), TOKENS)), st.integers(1, 5))
def test_no_slot_is_given_twice(steps: list[int | list[int]], count: int) -> None:
    slots, busy = Slots(count), set()
    for step in steps:
        if isinstance(step, int):
            if step in busy:
                busy.remove(step)
                slots.leave(step)
            continue
        taken = slots.take(step)
        assert (taken == ANY) == (len(busy) == count)
        assert taken not in busy
        busy |= {taken} - {ANY}


@given(TOKENS, TOKENS)
def test_what_both_begin_with(one: list[int], other: list[int]) -> None:
    common = count_common(array("i", one), array("i", other))
    assert one[:common] == other[:common]
    assert common in {len(one), len(other)} or one[common] != other[common]
