from __future__ import annotations

import csv
import io
import json
import sqlite3

import pytest
from tests.fixtures.benches import STARTER, make_bench
from tests.unit.bench.bench_values import make_sample, make_series

from localfirst.bench import rows
from localfirst.bench.values import Bench, Workload

READING = make_series(
    Workload(512, 0),
    [make_sample(prefill_tps=rate, first_token_s=(0.2,), prompt_tokens=512) for rate in (100.0, 110.0)],
)
WRITING = make_series(
    Workload(0, 128, 4096, 2), [make_sample(decode_tps=20.0, gaps_s=(0.05,) * 9, completion_tokens=128)]
)._replace(marks=("the machine was busy (others took 31%)",))
BENCH = make_bench(READING, WRITING, failures=("x: it's not here",), complete=False)
LLAMA_BENCH = {
    *("build_commit", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "model_size", "n_batch"),
    *("n_threads", "type_k", "type_v", "n_prompt", "n_gen", "n_depth", "test_time", "avg_ts", "stddev_ts"),
}


def test_a_row_has_llama_benchs_names_and_figures() -> None:
    reading, writing = rows.make_rows(BENCH)
    assert set(reading) >= {*LLAMA_BENCH, "samples_ts"}
    assert (reading["avg_ts"], reading["samples_ts"]) == (105.0, [100.0, 110.0])
    assert reading["stddev_ts"] == pytest.approx(7.0711, abs=1e-4)
    assert (reading["build_commit"], reading["model_filename"]) == ("1234567", "starter@q4_0")
    assert (writing["n_prompt"], writing["n_gen"], writing["n_depth"], writing["n_requests"]) == (0, 128, 4096, 2)
    assert (writing["test"], writing["stddev_ts"]) == ("tg128 @ d4096 x2", None)


def test_json_is_one_object_with_what_is_said_of_all() -> None:
    told = json.loads(rows.write_json(BENCH))
    assert [row["test"] for row in told["results"]] == ["pp512", "tg128 @ d4096 x2"]
    assert (told["complete"], told["failures"]) == (False, ["x: it's not here"])
    assert told["before"]["governor"] == "performance"


def test_json_lines_are_the_rows() -> None:
    lines = rows.write_json_lines(BENCH).splitlines()
    assert [json.loads(line) for line in lines] == rows.make_rows(BENCH)


def test_csv_has_a_line_of_names_and_no_lists() -> None:
    reading, writing = csv.DictReader(io.StringIO(rows.write_csv(BENCH)))
    assert set(reading) >= LLAMA_BENCH
    assert not {"samples_ts", "marks"} & set(reading)
    assert (reading["avg_ts"], writing["stddev_ts"]) == ("105.0", "")


def test_sql_is_what_sqlite_reads_whatever_is_in_a_name() -> None:
    odd = STARTER._replace(model="it's; drop table x --")
    bench = make_bench(READING._replace(contender=odd), WRITING)
    database = sqlite3.connect(":memory:")
    database.executescript(rows.write_sql(bench))
    found = database.execute("select model_filename, avg_ts, stddev_ts, n_requests from lf_bench").fetchall()
    database.close()
    assert [row[0] for row in found] == ["it's; drop table x --@q4_0", "starter@q4_0"]
    assert (found[0][1], found[1][2], found[1][3]) == (105.0, None, 2)


def test_a_page_has_a_table_with_its_marks_below() -> None:
    lines = rows.write_markdown(make_bench(READING, WRITING._replace(contender=STARTER._replace(model="a|b"))))
    assert "| starter Q4_0 | 1.88 MiB | llama-cpu | CPU | 2 | pp512 | 105.00 ± 7.07 | 200.0 |  |" in lines
    assert "| a\\|b Q4_0 | 1.88 MiB | llama-cpu | CPU | 2 | tg128 @ d4096 x2 | 20.00 (1) |  | 50.0 |" in lines
    assert "1. the machine was busy (others took 31%)" in lines
    assert "did not come to its end" not in lines


def test_a_table_does_not_tell_gaps_that_nobody_saw_and_says_when_it_is_a_part() -> None:
    swift = WRITING._replace(samples=tuple(one._replace(gaps_s=(0.0002,) * 9) for one in WRITING.samples))
    lines = rows.write_markdown(make_bench(swift, complete=False))
    assert "| tg128 @ d4096 x2 | 20.00 (1) |  | < 40 |" in lines
    assert "* this bench did not come to its end" in lines
    assert [row["complete"] for row in rows.make_rows(BENCH)] == [False, False]


@pytest.mark.parametrize("form", rows.WRITERS)
def test_a_bench_of_nothing_is_written_too(form: str) -> None:
    empty: Bench = make_bench()
    assert isinstance(rows.WRITERS[form](empty), str)
