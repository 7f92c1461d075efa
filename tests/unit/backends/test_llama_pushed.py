"""When what llama.cpp says is passed on, and what happens where it says no more."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from localfirst.backends.base import Chunk, Finished, Started
from localfirst.backends.limits import Allowance
from localfirst.backends.llama_cpp import likely, pushed
from localfirst.backends.llama_cpp.answer import UNENDED, Ages, Answer
from localfirst.backends.llama_cpp.pushed import Pushed, Watch
from localfirst.backends.pace import MANY
from localfirst.backends.text import Pieces
from localfirst.errors import EngineError


class Pushing:
    """An answer that is pushed into a list; `|` stands where it was passed on."""

    def __init__(
        self, requests: int = 1, stop: tuple[str, ...] = (), prompt_tokens: int | Callable[[], int] = 3
    ) -> None:
        self.told: list[Chunk | str] = []
        self.cancelled = threading.Event()
        self.tokens = 0
        answer = Answer(
            prompt_tokens, lambda _: Allowance(1000, "length"), Pieces(stop), likely.Reader(None, lambda _: b"")
        )
        passed = lambda: self.told.append("|")  # noqa: E731
        self.pushed = Pushed(answer, self.told.append, passed, self.cancelled.is_set, lambda: requests)

    def say(self, text: str, reason: str | None = None) -> bool:
        self.tokens += 1
        timings = {"predicted_n": self.tokens, "prompt_ms": 1.0, "predicted_ms": 10.0 * self.tokens}
        timings |= {"cache_n": 4, "prompt_n": 3}
        return self.pushed.accept({"choices": [{"text": text, "finish_reason": reason}], "timings": timings})

    @property
    def shown(self) -> str:
        """What was told between the beginning and the end."""
        rest = (one for one in self.told if not isinstance(one, (Started, Finished)))
        return "".join(one if isinstance(one, str) else one.text for one in rest)

    @property
    def end(self) -> Finished:
        (end,) = (one for one in self.told if isinstance(one, Finished))
        assert isinstance(self.told[-1], Finished) or self.told[-1] == "|"
        return end


@pytest.fixture
def never_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "find_wait_s", lambda _: math.inf)


@contextmanager
def watched(one: Pushing) -> Iterator[None]:
    watch = Watch()
    with watch.over(one.pushed):
        yield
    watch.close()


def wait_until_over(one: Pushing) -> bool:
    return one.pushed._over.wait(5)


@pytest.mark.usefixtures("never_due")
def test_the_first_text_comes_at_once_and_the_rest_when_it_is_due() -> None:
    one = Pushing()
    assert not any(one.say(text) for text in ("", "a", "b", "c"))
    assert one.shown == "a|"
    assert one.say("d", "stop")
    one.pushed.check()
    assert one.shown == "a|bcd|"
    assert (one.end.finish_reason, one.end.usage.completion_tokens) == ("stop", 5)


def test_what_comes_without_a_pause_is_passed_on_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "find_wait_s", lambda _: 0.01)
    one, began_s = Pushing(), time.monotonic()
    while one.shown.count("|") < 4 and time.monotonic() < began_s + 20:
        one.say("x")
    assert one.shown.count("|") == 4
    assert time.monotonic() - began_s > 3 * 0.01


def test_text_is_passed_on_where_no_next_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "LOOK_S", 0.02)
    one = Pushing()
    one.say("a")
    one.say("b")
    with watched(one):
        time.sleep(0.3)
        assert one.shown == "a|b|"
        one.cancelled.set()
        assert wait_until_over(one)


@pytest.mark.usefixtures("never_due")
def test_a_cancel_is_heard_while_the_engine_says_nothing() -> None:
    one = Pushing()
    one.say("a")
    with watched(one):
        one.cancelled.set()
        assert wait_until_over(one)
    assert (one.end.finish_reason, one.end.usage.completion_tokens) == ("cancelled", 1)
    assert one.say("b")  # what the engine says afterwards stops it, and is not told
    assert one.shown == "a|"


@pytest.mark.usefixtures("never_due")
def test_nothing_counts_that_came_after_a_stop_word() -> None:
    one = Pushing(stop=("END",))
    one.say("a")
    for text in ("b", "END", "c", "d"):
        one.say(text)
    one.say("", "length")
    one.pushed.check()
    assert one.shown == "a|b|"
    assert (one.end.finish_reason, one.end.stopped_by, one.end.usage.completion_tokens) == ("stop", "END", 3)


@pytest.mark.parametrize(
    ("event", "words"),
    [({"error": {"message": "no memory"}}, "no memory"), ({"choices": []}, "index"), ({"choices": [{}]}, "text")],
)
def test_what_is_no_event_is_an_error_of_the_engine(event: dict[str, Any], words: str) -> None:
    one = Pushing()
    assert one.pushed.accept(event)
    with pytest.raises((EngineError, LookupError)) as caught:
        one.pushed.check()
    assert words in str(getattr(caught.value, "detail", caught.value))
    assert one.told == []


def test_a_failure_counts_where_no_end_came_before_it() -> None:
    ended, cut = Pushing(), Pushing()
    ended.say("a", "stop")
    for one in (ended, cut):
        one.pushed.fail(UNENDED)
    ended.pushed.check()
    assert ended.end.finish_reason == "stop"
    with pytest.raises(EngineError):
        cut.pushed.check()
    cut.cancelled.set()
    assert cut.told == []


def test_an_error_of_who_takes_it_is_told_and_ends_it() -> None:
    one = Pushing()

    def put(_: Chunk) -> None:
        raise BrokenPipeError("nobody reads")

    one.pushed._put = put
    assert one.say("a")
    with pytest.raises(BrokenPipeError):
        one.pushed.check()


def test_of_many_none_waits_in_the_engine_before_the_next_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "find_wait_s", lambda _: 0.3)
    for requests, waits in ((MANY - 1, False), (MANY, True)):
        one = Pushing(requests)
        began = time.perf_counter()
        one.say("a")
        assert (time.perf_counter() - began >= 0.3) == waits
    monkeypatch.setattr(pushed, "find_wait_s", lambda _: 5.0)
    one = Pushing(MANY)
    threading.Timer(0.02, one.pushed.fail, [UNENDED]).start()
    began = time.perf_counter()
    assert one.say("a")
    assert time.perf_counter() - began < 4


def test_how_long_the_prompt_is_comes_first_and_where_it_was_not_counted_as_the_engine_tells_it() -> None:
    for tokens in (7, lambda: pytest.fail("the engine has told it")):
        one = Pushing(prompt_tokens=tokens)
        one.say("a")
        one.say("b", "stop")
        one.pushed.check()
        assert one.told[0] == Started(7)
        assert one.told.count(Started(7)) == 1
        assert one.end.usage.prompt_tokens == 7


def test_while_a_prompt_is_read_its_length_is_told_before_any_token() -> None:
    one = Pushing(prompt_tokens=lambda: pytest.fail("the engine has told it"))
    timings = {"predicted_n": 0, "prompt_ms": 0.0, "predicted_ms": 0.0, "cache_n": 0, "prompt_n": 0}
    progress = {"total": 300, "cache": 0, "processed": 0}
    choices = [{"text": "", "finish_reason": None}]
    one.pushed.accept({"choices": choices, "timings": timings, "prompt_progress": progress})
    assert one.told == [Started(300)]


def test_a_prompt_that_is_left_before_the_engine_tells_its_length_is_counted() -> None:
    one = Pushing(prompt_tokens=lambda: 5)
    one.cancelled.set()
    one.pushed.look()
    assert one.told == [Started(5), one.end]
    assert (one.end.finish_reason, one.end.usage.prompt_tokens) == ("cancelled", 5)


def test_who_looks_after_answers_sleeps_where_there_is_none_and_wakes_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pushed, "LOOK_S", 0.02)
    monkeypatch.setattr(pushed, "LINGER_S", 0.05)
    watch = Watch()
    for _ in range(2):
        time.sleep(0.3)
        assert not watch._awake.is_set()
        one = Pushing(prompt_tokens=lambda: 5)
        with watch.over(one.pushed):
            one.cancelled.set()
            assert wait_until_over(one)
    watch.close()


def test_an_error_while_it_is_looked_after_is_raised_where_it_was_asked() -> None:
    one = Pushing()

    def fail() -> None:
        raise BrokenPipeError("nobody reads")

    one.say("a")
    one.pushed._pass_on = fail
    one.pushed._kept.append(
        {"choices": [{"text": "b", "finish_reason": None}], "timings": {"predicted_n": 2, "prompt_ms": 1.0}}
    )
    one.cancelled.clear()
    one.pushed._due_s = -1.0
    one.pushed.look()
    with pytest.raises(BrokenPipeError):
        one.pushed.check()


def test_what_was_said_long_ago_has_something_after_it() -> None:
    """However late each is heard after the one before: 20 ms apart, told 3 to 8 tokens late, by turns with others."""
    ages = Ages()

    def hear(tokens: int, now_s: float) -> bool:
        return ages.is_newest({"timings": {"predicted_n": tokens, "predicted_ms": 20.0 * tokens}}, now_s)

    assert hear(1, 100.020)
    assert hear(2, 100.041)
    assert not any(hear(number, 100.160 + 0.002 * number) for number in range(3, 8))
    assert hear(8, 100.168)
    assert ages.is_newest({"prompt_progress": {}}, 200.0)


def test_of_many_none_waits_where_more_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "find_wait_s", lambda _: 0.2)
    one = Pushing(MANY)
    one.say("a")
    time.sleep(0.3)  # in which more was said than is heard
    began_s = time.monotonic()
    for _ in range(5):
        one.say("b")
    assert time.monotonic() - began_s < 0.2


def test_who_looks_after_answers_can_be_closed_just_when_it_goes_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "LOOK_S", 0.01)
    watch = Watch()
    clear, has_closed = watch._awake.clear, threading.Event()

    def close_first() -> None:
        closing.start()
        has_closed.wait(5)
        clear()

    def set_both() -> None:
        watch._closed.set()
        watch._awake.set()
        has_closed.set()

    closing = threading.Thread(target=set_both, daemon=True)
    watch._awake.clear = close_first  # type: ignore[method-assign]
    watch._thread.join(5)
    assert not watch._thread.is_alive()
