"""Which slot of llama.cpp's server a request is given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends.llama_cpp.prompt import make_key
from localfirst.backends.llama_cpp.slots import Slots, count_common
from localfirst.choices import LLAMA_BATCH_TOKENS

LONG = tuple(range(1000, 1000 + 4 * LLAMA_BATCH_TOKENS))
TOKENS = st.lists(st.integers(0, 3))


class Taken:
    """Slots that are taken and left by hand."""

    def __init__(self, count: int) -> None:
        self.slots = Slots(count)
        self._held: dict[int, ExitStack] = {}

    def take(self, prompt: Sequence[int]) -> int:
        with ExitStack() as stack:
            number = stack.enter_context(self.slots.taken(make_key(prompt)))
            assert number not in self._held
            self._held[number] = stack.pop_all()
        assert self.slots.busy == len(self._held)
        return number

    def leave(self, *numbers: int) -> None:
        for number in numbers:
            self._held.pop(number).close()

    def take_each(self, *tokens: int) -> list[int]:
        return [self.take((token,)) for token in tokens]


def test_requests_at_a_time_lie_side_by_side() -> None:
    slots = Taken(8)
    for shift in (6, 1, 4):  # as others left them
        slots.take_each(*range(8))
        slots.leave(*((number + shift) % 8 for number in range(8)))
        taken = sorted(slots.take_each(11, 12, 13, 14))
        assert taken == list(range(taken[0], taken[0] + 4))
        slots.leave(*taken)


def test_a_gap_is_filled() -> None:
    slots = Taken(8)
    slots.take_each(*range(8))
    slots.leave(0, 3, 7)
    assert slots.take((20,)) == 3


def test_who_comes_again_finds_what_was_read() -> None:
    slots = Taken(4)
    first = slots.take(LONG)
    slots.leave(first)
    for prompt in ((1, 2), (3, 4), (5, 6)):
        slots.leave(slots.take(prompt))
    assert slots.take((*LONG, 7, 8)) == first


def test_a_new_prompt_spares_what_was_read_last() -> None:
    slots = Taken(3)
    taken = []
    for prompt in ((1, *LONG[:40]), (1, *LONG[50:90]), (1, *LONG[100:140])):  # all begin with one token
        taken.append(slots.take(prompt))
        slots.leave(taken[-1])
    assert sorted(taken) == [0, 1, 2]
    assert slots.take((1, *LONG[200:240])) == taken[0]


def test_less_than_a_batch_is_no_reason_to_lie_apart() -> None:
    slots = Taken(8)
    knowing = slots.take(LONG)
    between, busy = slots.take_each(1, 2)
    slots.leave(knowing, between)
    assert abs(knowing - busy) == 2
    assert abs(slots.take((*LONG[: LLAMA_BATCH_TOKENS - 1], 9)) - busy) == 1
    assert slots.take((*LONG, 9)) == knowing


@given(st.lists(st.one_of(st.integers(0, 5), TOKENS)), st.integers(1, 5))
def test_no_slot_is_given_twice(steps: list[int | list[int]], count: int) -> None:
    slots, busy = Taken(count), set()
    for step in steps:
        if isinstance(step, list):
            if len(busy) < count:
                busy.add(slots.take(step))
        elif step in busy:
            busy.remove(step)
            slots.leave(step)


@given(st.binary(), st.binary())
def test_what_both_begin_with(one: bytes, other: bytes) -> None:
    common = count_common(one, other)
    assert one[:common] == other[:common]
    assert common in {len(one), len(other)} or one[common] != other[common]
