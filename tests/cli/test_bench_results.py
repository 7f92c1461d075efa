"""`lf bench history`, `compare`, `export` and `report` as a user sees them."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from tests.conftest import Lf
from tests.fixtures.benches import BENCHES, READ, WRITE, make_bench, make_series

from localfirst.bench.serialize import to_json
from localfirst.bench.values import Load, Workload
from localfirst.cli.report.charts import Bars, Lines, find_charts
from localfirst.cli.report.page import render
from localfirst.cli.report.svg import draw, find_ticks
from localfirst.cli.screen import Screen
from localfirst.cli.views.bars import draw_bar
from localfirst.cli.views.bench import render_bench
from localfirst.cli.views.bench_results import render_history
from localfirst.services.bench.results import keep
from localfirst.store import results

STEADY = (100.0, 101.0, 99.0, 100.5, 99.5)
BUSY = "the machine was busy (31 % of its processors' time went to others)"
EVIL = 'a <script>alert(1)</script> & "name" \x1b]0;owned\x07\u202e{{ 7 * 7 }}'


def scale(factor: float) -> tuple[float, ...]:
    return tuple(rate * factor for rate in STEADY)


@pytest.fixture
def kept(lf: Lf, monkeypatch: pytest.MonkeyPatch) -> Lf:
    """Three benches: a first, a slower one with doubts, and one of other files."""
    monkeypatch.setenv("LF_HOME", str(lf.home))
    for one, factor, more in (
        ("20261126-bcdf", 1.0, {}),
        ("20261127-kmnp", 0.9, {"marks": (BUSY,)}),
        ("20261128-rstv", 1.0, {"digest": "cd" * 32, "quantization": "Q8_0"}),
    ):
        series = (make_series(READ, scale(factor), **more), make_series(WRITE, scale(factor), **more))
        results.save(make_bench(*series, id=one), print)
    return lf


def test_history_lists_the_newest_first_and_says_what_is_doubtful(kept: Lf) -> None:
    shown = kept("bench", "history")
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [line.split("  ") for line in shown.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["20261128-rstv", "20261127-kmnp", "20261126-bcdf"]
    assert [row[-1] for row in rows] == ["pp512 1000, tg128 100", "doubtful", "pp512 1000, tg128 100"]
    assert len(json.loads(kept("bench", "history", "--json", "-n", "2").stdout)["benches"]) == 2


def test_the_history_of_a_model_has_a_bar_for_each_bench(kept: Lf) -> None:
    shown = kept("bench", "history", "starter").stdout
    assert "starter@q4_0 in llama-cpu, tg128" in shown
    assert [line.count("█") for line in shown.split("tg128")[1].splitlines() if "2026" in line] == [24, 21, 24]
    none = kept("bench", "history", "phi-4-mini")
    assert (none.stdout, none.stderr, none.returncode) == ("", "No bench of that is kept\n", 0)


def test_before_the_first_bench_history_says_how_to_make_one(lf: Lf) -> None:
    shown = lf("bench", "history")
    assert (shown.stdout, shown.returncode) == ("", 0)
    assert "`lf bench MODEL` makes one" in shown.stderr
    assert json.loads(lf("bench", "history", "--json").stdout) == {"benches": []}


def test_compare_says_what_is_slower_and_how_sure_that_is(kept: Lf) -> None:
    shown = kept("bench", "compare", "bcdf", "kmnp")
    assert shown.returncode == 0
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith(("pp512", "tg128"))]
    assert [(row[0], row[-1]) for row in rows] == [("pp512", "slower"), ("pp512", "slower"), ("tg128", "slower")]
    assert "-10.0%" in shown.stdout
    assert f"Doubtful: {BUSY}" in " ".join(shown.stdout.split())
    (pair, _) = json.loads(kept("bench", "compare", "bcdf", "kmnp", "--json").stdout)["pairs"]
    assert (pair["marks"], pair["changes"][0]["verdict"]) == ([BUSY], "slower")
    assert pair["changes"][0]["ratio_low"] < pair["changes"][0]["ratio"] < pair["changes"][0]["ratio_high"] < 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("bcdf", "kmnp", "--fail-under", "5%"), 12, "3 figures are worse by more than 5%"),
        (("bcdf", "kmnp", "--fail-under", "12%"), 0, ""),
        (("kmnp", "bcdf", "--fail-under", "5%"), 0, ""),
        (("bcdf", "last", "--fail-under", "5%"), 12, "Nothing could be held to the bar"),
        (("bcdf",), 2, "nothing in common"),
        (("last", "rstv"), 2, "Both are the bench `20261128-rstv`"),
        (("bcdf", "kmnp", "--fail-under", "5"), 2, "no share such as 5%"),
        (("2026", "kmnp"), 3, "Several benches"),
        (("zzzz", "kmnp"), 3, "There is no bench `zzzz`"),
        (("z" * 300, "kmnp"), 3, "There is no bench `zzzz"),
    ],
)
def test_the_bar_and_what_is_wrong_with_the_words(kept: Lf, words: tuple[str, ...], code: int, said: str) -> None:
    done = kept("bench", "compare", *words)
    assert done.returncode == code
    assert said in done.stderr
    assert (done.stderr == "") == (code == 0)


def test_what_is_unlike_is_named(kept: Lf) -> None:
    shown = kept("bench", "compare", "bcdf", "last").stdout
    assert "Not compared: starter@q4_0 in llama-cpu: pp512, tg128" in shown
    assert "files: abababababab before, cdcdcdcdcdcd after" in shown
    assert "quantization: Q4_0 before, Q8_0 after" in shown


def test_tests_that_there_were_not_before_are_told_in_one_block(kept: Lf) -> None:
    results.save(
        make_bench(*(make_series(Workload(size, 0), STEADY) for size in (16, 32, 64)), id="20261129-vwxz"), print
    )
    shown = kept("bench", "compare", "bcdf").stdout.splitlines()
    place = shown.index("Not compared: starter@q4_0 in llama-cpu: pp16, pp32, pp64")
    assert shown[place + 1] == "  test: no such one before"
    assert len([row for row in shown if row.startswith("Not compared")]) == 1
    assert "Not measured again: starter@q4_0 in llama-cpu: pp512, tg128" in shown


def test_history_shows_figures_on_a_narrow_screen() -> None:
    loads = [Workload(size, 0) for size in (512, 1024, 2048)]
    bench = make_bench(*(make_series(one, STEADY, marks=(BUSY,)) for one in loads), complete=False)
    header, row = render_history([bench], Screen(io.StringIO(), 80))
    assert "TOKENS/S" in header
    assert "pp512 1000, pp1024 1000, ..." in row
    assert len(row) <= 80


def test_a_narrow_table_of_one_contender_says_it_once_and_has_more_figures() -> None:
    one = [make_series(load, STEADY, marks=(BUSY,)) for load in (READ, WRITE)]
    other = [make_series(load, STEADY, runtime="onnx-cpu") for load in (READ, WRITE)]
    narrow, wide = Screen(io.StringIO(), 80), Screen(io.StringIO(), None)
    rows = render_bench(make_bench(*one), narrow)
    place = rows.index("starter@q4_0 in llama-cpu")
    assert rows[place + 1].split("  ")[0] == "TEST"
    assert {"BEST", "P95", "GAP", "MEMORY", "MARK"} <= set(rows[place + 1].split())
    assert all(len(row) <= 80 for row in rows)
    assert any(row.startswith("MODEL") for row in render_bench(make_bench(*one), wide))
    assert any(row.startswith("MODEL") for row in render_bench(make_bench(*one, *other), narrow))


def test_a_bench_of_nothing_has_no_table() -> None:
    rows = render_bench(make_bench()._replace(series=(), complete=False), Screen(io.StringIO(), 80))
    assert [row for row in rows if not row] == [""]
    assert rows[-1] == "!  This bench did not come to its end"


def test_an_exported_file_is_compared_with_and_a_bad_one_is_named(kept: Lf, tmp_path: Path) -> None:
    whole = kept("bench", "export", "bcdf").stdout
    (tmp_path / "base.json").write_text(whole)
    assert json.loads(whole)["schema"] == "lf.bench/1"
    assert kept("bench", "compare", str(tmp_path / "base.json"), "kmnp", "--fail-under", "5%").returncode == 12
    (tmp_path / "bad.json").write_text(whole.replace('"machine":', '"machin":', 1))
    bad = kept("bench", "compare", str(tmp_path / "bad.json"), "kmnp")
    assert (bad.returncode, "`machine` is missing" in bad.stderr, "bad.json" in bad.stderr) == (1, True, True)
    (tmp_path / "picture.json").write_bytes(b"\x89PNG")
    for name in ("picture.json", "none.json", "."):
        done = kept("bench", "compare", str(tmp_path / name), "kmnp")
        assert done.returncode in {1, 3}
        assert "Traceback" not in done.stderr


def test_a_file_called_last_does_not_hide_the_last_bench(kept: Lf, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last").write_text("something else")
    assert json.loads(kept("bench", "export").stdout)["id"] == "20261128-rstv"


def test_every_form_of_export_has_a_row_for_each_test(kept: Lf) -> None:
    rows = list(csv.DictReader(io.StringIO(kept("bench", "export", "bcdf", "-o", "csv").stdout)))
    assert [row["test"] for row in rows] == ["pp512", "tg128"]
    with sqlite3.connect(":memory:") as database:
        database.executescript(kept("bench", "export", "bcdf", "-o", "sql").stdout)
    assert "| pp512 |" in kept("bench", "export", "bcdf", "-o", "md").stdout
    assert kept("bench", "export", "bcdf", "-o", "xml").returncode == 2


def test_a_report_is_written_where_it_is_said(kept: Lf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kept("bench", "report", "kmnp").stdout == "lf-bench-20261127-kmnp.html\n"
    page = (tmp_path / "lf-bench-20261127-kmnp.html").read_text()
    assert BUSY.replace("'", "&#39;") in page
    done = kept("bench", "report", "kmnp", "-o", str(tmp_path / "none" / "a.html"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "The page cannot be written" in done.stderr


def test_a_damaged_file_of_measurements_is_said_once(kept: Lf) -> None:
    (kept.home / "measurements.sqlite").write_bytes(b"no database" * 1000)
    first, second = kept("bench", "history"), kept("bench", "history")
    assert "is damaged; it is now" in first.stderr
    assert "damaged" not in second.stderr
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_bench_that_cannot_be_kept_is_written_elsewhere_and_said(lf: Lf, monkeypatch, tmp_path: Path) -> None:
    lf.home.write_text("a file in the way")
    monkeypatch.setenv("LF_HOME", str(lf.home))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    bench = make_bench()
    assert keep(bench, said.append) == (bench, False)
    (rescued,) = tmp_path.glob("lf-bench-*.json")
    assert str(rescued) in said[1]
    assert json.loads(rescued.read_text()) == json.loads(json.dumps(to_json(bench)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert keep(bench, said.append) == (bench, False)
    assert "what is printed here is all there is" in said[-1]


class Page(HTMLParser):
    """What a page's tags are and name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action", "xlink:href"}]


def make_many():
    loads = (READ, WRITE, WRITE._replace(depth_tokens=4096), WRITE._replace(concurrency=4), Workload(512, 128))
    return make_bench(
        *(make_series(one, STEADY) for one in loads), *(make_series(one, STEADY, runtime="onnx-cpu") for one in loads)
    )


def test_foreign_text_is_only_text_on_the_page() -> None:
    page = render(
        make_bench(
            make_series(READ, model=EVIL, device=EVIL, marks=(EVIL,)),
            id=EVIL, machine_name=EVIL, system=EVIL, arguments=(EVIL,), failures=(EVIL,), energy_counter=EVIL,
        )
    )  # fmt: skip
    assert "script" not in Page(page).tags
    assert "{{ 7 * 7 }}" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", page)


@settings(max_examples=40)
@given(BENCHES)
def test_any_bench_has_a_page(bench) -> None:
    assert render(bench).endswith("</html>")
    for chart in find_charts(bench):
        assert Page(draw(chart, 1)).tags[:3] == ["svg", "title", "desc"]


def test_a_page_needs_nothing_from_elsewhere_and_every_plot_has_words() -> None:
    page = render(make_many())
    parsed = Page(page)
    assert parsed.addresses == []
    assert "url(" not in page
    assert "@import" not in page
    plots = re.findall(r'<svg viewBox="[^"]*" role="img".*?</svg>', page, re.DOTALL)
    assert len(plots) == len(find_charts(make_many())) == 6
    for plot in plots:
        root = ET.fromstring(plot)  # noqa: S314 - of our own
        title, text = (root.find(tag) for tag in ("title", "desc"))
        assert root.get("aria-labelledby") == f"{title.get('id')} {text.get('id')}"
        assert title.text
        assert "onnx-cpu" in text.text
    assert len(parsed.ids) == len(set(parsed.ids))


def test_a_page_has_every_figure_of_the_table() -> None:
    load, sizes = Load(1.5, 0.25), {"device_peak_bytes": 2 * 10**9, "bandwidth_bytes_per_s": 4 * 10**8}
    slow = make_series(WRITE, (10.0, 10.0), load=load, **sizes)
    fast = make_series(WRITE, (100.0, 100.0), runtime="onnx-cpu")
    cells = re.findall("<t[dh][^>]*>([^<]*)</t[dh]>", render(make_bench(slow, fast)))
    assert {"Gap 95 %", "100 ms", "&lt; 40 ms", "Device memory", "2.00 GB", "Roofline", "5%"} <= set(cells)
    assert cells[cells.index("Loads from the disk in") + 1] == "1.5 s"
    assert cells[cells.index("Loads from memory in") + 1] == "250 ms"
    assert cells[cells.index("Bandwidth of its memory") + 1] == "400 MB/s"


def test_what_was_varied_is_drawn_as_lines_and_what_was_not_as_bars() -> None:
    charts = {chart.title: chart for chart in find_charts(make_many())}
    assert list(charts["After more context"].lines[0].points) == [(0, 100.0), (4096, 100.0)]
    assert [x for x, _ in charts["Requests at the same time"].lines[0].points] == [1, 4]
    assert isinstance(charts["Generating"], Bars)
    assert len(charts["Generating"].bars) == 8
    single = {chart.title: chart for chart in find_charts(make_bench(make_series(WRITE, STEADY)))}
    assert set(single) == {"Generating", "Repetition by repetition"}
    assert isinstance(single["Repetition by repetition"], Lines)
    assert single["Generating"].bars[0].name == "tg128"


def test_bars_are_as_long_as_their_figures_are_large() -> None:
    bench = make_bench(make_series(WRITE, (50.0,) * 3), make_series(WRITE, (100.0,) * 3, runtime="onnx-cpu"))
    widths = [float(one) for one in re.findall(r'<rect[^>]* width="([\d.]+)"', draw(find_charts(bench)[0], 1))]
    assert widths[1] == pytest.approx(2 * widths[0])


@pytest.mark.parametrize("most", [1e-9, 0.02, 0.9, 1.0, 7.3, 99.0, 100.0, 1234.5, 8e9])
def test_ticks_are_few_round_and_hold_the_largest(most: float) -> None:
    ticks = find_ticks(most)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 6
    assert ticks[-1] >= most * (1 - 1e-9)
    assert ticks[-2] < most


def test_a_terminal_without_blocks_gets_other_bars() -> None:
    blocks = Screen(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    plain = Screen(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert [draw_bar(share, 4, blocks) for share in (0, 0.5, 0.53125, 1, 2)] == ["", "██", "██▏", "████", "████"]
    assert [draw_bar(share, 4, plain) for share in (0, 0.5, 1)] == ["", "##", "####"]
