import io

import pytest

from localfirst.cli.progress import LineProgress, say_progress, show_progress
from localfirst.cli.screen import Screen
from localfirst.types import Progress

MB = 10**6


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        pytest.param(
            Progress("m", 1230 * MB, 2490 * MB, 12.3e6), "1.23 of 2.49 GB, 49 %, 12.3 MB/s, 1:42 left", id="all"
        ),
        pytest.param(Progress("m", 500 * MB, 2490 * MB), "500 MB of 2.49 GB, 20 %", id="no-rate"),
        pytest.param(Progress("m", 5 * MB, None, 1e6), "5.00 MB, 1.00 MB/s", id="no-total"),
        pytest.param(Progress("m", 0, detail={"line": "Collecting \x1b[2Jnumpy"}), "Collecting numpy", id="line"),
        pytest.param(Progress("m", 0, 0), "0 of 0 B", id="empty-file"),
        pytest.param(Progress("m", 0), "", id="nothing-known"),
    ],
)
def test_progress_says_as_much_as_is_known(progress, text):
    assert say_progress(progress) == text


def test_without_a_terminal_there_is_a_line_every_few_seconds_and_every_notice():
    stream = io.StringIO()
    seconds = iter((0.0, 1.0, 5.0, 6.0, 7.0))
    lines = LineProgress(Screen(stream), clock=lambda: next(seconds))
    for done in (0, 10, 50, 60, 100):
        lines.report(Progress("m", done * MB, 100 * MB))
    lines.report(Progress("m", 0, detail={"notice": "trying\x07 again"}))
    assert stream.getvalue().splitlines() == [
        "m: 0 B of 100 MB, 0 %",
        "m: 50.0 of 100 MB, 50 %",
        "m: 100 of 100 MB, 100 %",
        "m: trying again",
    ]


def draw(width, *reports, quiet=False):
    stream = io.StringIO()
    with show_progress(quiet=quiet, screen=Screen(stream, width)) as report:
        for progress in reports:
            report(progress)
    return stream.getvalue()


def test_quiet_shows_nothing():
    assert draw(80, Progress("m", 1, 2), quiet=True) == ""


def test_nothing_to_report_draws_nothing():
    assert draw(80) == ""


def test_on_a_terminal_notices_stay_above_the_bar():
    shown = draw(
        80, Progress("m", 5 * MB, 10 * MB), Progress("m", 0, detail={"notice": "[red]trying\x1b[2J again[/red]"})
    )
    assert "m: [red]trying again[/red]\n" in shown


def test_an_error_while_a_bar_is_drawn_comes_through():
    with pytest.raises(ValueError, match="broken"):
        _fail_midway()


def _fail_midway():
    with show_progress(quiet=False, screen=Screen(io.StringIO(), 80)) as report:
        report(Progress("m", 1, 2))
        raise ValueError("broken")
