import io
import json

import pytest

from localfirst.cli.progress import BarProgress, EventProgress, LineProgress, show_progress
from localfirst.cli.screen import Screen
from localfirst.cli.views.progress import Moment, render_moment, say_progress
from localfirst.types import FileProgress, Progress

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


FILE = FileProgress("cpu/model.onnx.data", 310 * MB, 982 * MB, 2, 5)
STEP = Progress("phi-4-mini", 1230 * MB, 2490 * MB, 12.3e6, file=FILE)


def test_a_line_names_the_file_where_there_are_several_until_all_are_there():
    stream = io.StringIO()
    lines = LineProgress(Screen(stream), clock=lambda: 0.0)
    lines.report(STEP)
    lines.report(STEP._replace(done=2490 * MB, rate_per_s=None))
    lines.report(Progress("one", 1 * MB, 2 * MB, file=FileProgress("one.gguf", 1 * MB, 2 * MB, 1, 1)))
    assert stream.getvalue().splitlines() == [
        "phi-4-mini: 1.23 of 2.49 GB, 49 %, 12.3 MB/s, 1:42 left, cpu/model.onnx.data (2 of 5)",
        "phi-4-mini: 2.49 of 2.49 GB, 100 %",
        "one: 1.00 of 2.00 MB, 50 %",
    ]


@pytest.mark.parametrize(
    ("width", "moment", "shown"),
    [
        pytest.param(
            80,
            Moment(STEP),
            [
                "phi-4-mini  ━━━━━━━─────────   49 %  1.23 of 2.49 GB    12.3 MB/s  1:42 left",
                "  2 of 5  cpu/model.onnx.data  310 of 982 MB",
            ],
            id="80",
        ),
        pytest.param(
            120,
            Moment(STEP._replace(retries=1)),
            [
                "phi-4-mini  ━━━━━━━━━━━━━━━━━━━─────────────────────   49 %  1.23 of 2.49 GB    12.3 MB/s  1:42 left",
                "  2 of 5  cpu/model.onnx.data  310 of 982 MB",
                "  1 retry so far",
            ],
            id="120",
        ),
        pytest.param(
            80,
            Moment(STEP._replace(what="hf:microsoft/Phi-4-mini", retries=3), 9.9, "cdn answers 503", 6.2),
            [
                "hf:microsoft/Phi-4-mini",
                "━━━━━━━━━━━━━───────────────   49 %  1.23 of 2.49 GB",
                "  2 of 5  cpu/model.onnx.data  310 of 982 MB",
                "  cdn answers 503; trying again in 7 s (3 retries so far)",
            ],
            id="long name, waiting",
        ),
        pytest.param(
            40,
            Moment(STEP, 8.7),
            [
                "phi-4-mini",
                "1.23 of 2.49 GB, 49 %",
                "  2 of 5  ...l.onnx.data  310 of 982 MB",
                "  no data for 8 s",
            ],
            id="narrow, nothing comes",
        ),
        pytest.param(
            80, Moment(Progress("x", 0, detail={"line": "Collecting numpy"})), ["x: Collecting numpy"], id="words"
        ),
        pytest.param(80, Moment(Progress("x", 0, 0)), None, id="nothing to do"),
    ],
)
def test_a_terminal_shows_the_step_the_file_and_what_is_waited_for(width, moment, shown):
    lines = render_moment(moment, Screen(io.StringIO(), width))
    assert all(len(text) < width for text in lines)
    if shown is not None:
        assert [text.rstrip() for text in lines] == shown


def test_a_terminal_without_the_characters_gets_others():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert "==--" in "".join(render_moment(Moment(STEP), Screen(stream, 80)))


def test_a_wait_counts_down_until_bytes_come():
    now = [0.0]
    bar = BarProgress(Screen(io.StringIO(), 100, cursor=True), clock=lambda: now[0])
    try:
        bar.report(STEP)
        bar.report(STEP._replace(detail={"notice": "no bytes; ...", "cause": "no bytes"}, retries=1, wait_s=7.0))
        now[0] = 2.5
        assert bar.draw()[-1] == "  no bytes; trying again in 5 s"
        now[0] = 7.1
        assert bar.draw()[-1] == "  no data for 7 s"
        bar.report(STEP._replace(done=1231 * MB, retries=1))
        assert bar.draw()[-1] == "  1 retry so far"
    finally:
        bar.stop()


def test_events_come_a_few_times_a_second_with_every_notice_and_the_end():
    stream = io.StringIO()
    seconds = iter((0.0, 0.1, 0.2, 0.26, 0.27))
    events = EventProgress(Screen(stream), clock=lambda: next(seconds))
    events.report(STEP)
    events.report(STEP._replace(done=5))
    events.report(Progress("phi-4-mini", 0, detail={"notice": "trying\x1b[2J again"}))
    events.report(STEP._replace(done=1231 * MB, file=None, rate_per_s=None, total=None, retries=2))
    events.report(STEP._replace(done=2490 * MB))
    first, notice, later, last = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "event": "progress",
        "model": "phi-4-mini",
        "done_bytes": 1230 * MB,
        "total_bytes": 2490 * MB,
        "rate_bytes_per_s": 12_300_000,
        "left_s": 102.4,
        "file": "cpu/model.onnx.data",
        "file_done_bytes": 310 * MB,
        "file_total_bytes": 982 * MB,
        "retries": 0,
    }
    assert notice == {"event": "notice", "model": "phi-4-mini", "text": "trying again"}
    unknown = {name for name, value in later.items() if value is None}
    assert unknown == {"total_bytes", "rate_bytes_per_s", "left_s", "file", "file_done_bytes", "file_total_bytes"}
    assert last["done_bytes"] == last["total_bytes"]


def draw(width, *reports, quiet=False):
    stream = io.StringIO()
    with show_progress(quiet=quiet, screen=Screen(stream, width, cursor=True)) as report:
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
    with show_progress(quiet=False, screen=Screen(io.StringIO(), 80, cursor=True)) as report:
        report(Progress("m", 1, 2))
        raise ValueError("broken")
