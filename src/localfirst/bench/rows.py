"""A bench as rows for programs: one for each series, in llama-bench's column names where they mean the same.

Source: llama.cpp, `tools/llama-bench/README.md`. Its times in nanoseconds are left out: they are of the engine's calls
alone, and ours are what the asking side waited. What it does not have keeps our names, with the unit in each.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from localfirst.bench.serialize import to_json
from localfirst.bench.statistics import LEAST_GAP_S, find_rate, summarize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localfirst.bench.values import Bench, Series

Row = dict[str, Any]
_COMMIT = re.compile(r"commit(?:-id=| )([0-9a-f]{7,40})\b")
_LISTS = ("samples_ts", "marks")
"""What CSV and SQL leave out, as llama-bench does."""


def make_rows(bench: Bench) -> list[Row]:
    """A row for each series."""
    return [_make_row(bench, one) for one in bench.series]


def _make_row(bench: Bench, series: Series) -> Row:
    contender, workload, summary = series.contender, series.workload, summarize(series)
    rates = [rate for one in series.samples if (rate := find_rate(workload, one)) is not None]
    commit = _COMMIT.search(contender.build or "")
    processor, _, devices = bench.machine_name.partition("; ")
    build = f"@{contender.variant}" if contender.variant else ""
    return {
        "build_commit": commit[1] if commit else None,
        "cpu_info": processor,
        "gpu_info": devices,
        "backends": contender.device,
        "model_filename": f"{contender.model}{build}",
        "model_type": " ".join(filter(None, (contender.model, contender.format, contender.quantization))),
        "model_size": contender.size_bytes,
        "n_batch": contender.batch_tokens,
        "n_threads": contender.threads,
        "type_k": contender.cache,
        "type_v": contender.cache,
        "n_prompt": workload.prompt_tokens,
        "n_gen": workload.generated_tokens,
        "n_depth": workload.depth_tokens,
        "test_time": bench.before.at,
        "avg_ts": summary.rate.mean if summary.rate else None,
        "stddev_ts": summary.rate.sd if summary.rate else None,
        "samples_ts": rates,
        "best_ts": summary.rate.best if summary.rate else None,
        "test": workload.name,
        "n_requests": workload.concurrency,
        "scenario": workload.scenario,
        "runtime": contender.runtime,
        "engine": contender.engine,
        "engine_version": contender.engine_version,
        "driver": contender.driver,
        "n_ctx": contender.context_tokens,
        "sha256": contender.digest,
        "prefill_ts": summary.prefill.mean if summary.prefill else None,
        "decode_ts": summary.decode.mean if summary.decode else None,
        "first_token_p50_s": summary.first_token_p50_s,
        "first_token_p95_s": summary.first_token_p95_s,
        "gap_p95_s": summary.gap_p95_s,
        "wall_s": summary.wall_s,
        "load_cold_s": series.load.cold_s,
        "load_warm_s": series.load.warm_s,
        "peak_bytes": series.peak_bytes,
        "device_peak_bytes": series.device_peak_bytes,
        "bandwidth_bytes_per_s": series.bandwidth_bytes_per_s,
        "roofline": summary.roofline,
        "energy_counter": bench.energy_counter,
        "joules_per_token": summary.joules_per_token,
        "watts": summary.watts,
        "marks": list(series.marks),
        "bench_id": bench.id,
        "complete": bench.complete,
        "lf_version": bench.lf_version,
        "system": bench.system,
    }


def write_json(bench: Bench) -> str:
    """All of it as `serialize` writes it, which `lf bench compare` reads; and the rows as `results`."""
    return json.dumps({**to_json(bench), "results": make_rows(bench)}) + "\n"


def write_json_lines(bench: Bench) -> str:
    """A row a line."""
    return "".join(f"{json.dumps(row)}\n" for row in make_rows(bench))


def write_csv(bench: Bench) -> str:
    """A line of names, then a line for each row; nothing where a figure is unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for place, row in enumerate(_flatten(make_rows(bench))):
        if place == 0:
            writer.writerow(row)
        writer.writerow("" if value is None else value for value in row.values())
    return text.getvalue()


def write_sql(bench: Bench) -> str:
    """A table and its rows, for `sqlite3` to read."""
    lines = []
    for place, row in enumerate(_flatten(make_rows(bench))):
        if place == 0:
            lines.append(f"CREATE TABLE IF NOT EXISTS lf_bench ({', '.join(row)});")
        values = ", ".join(map(_quote, row.values()))
        lines.append(f"INSERT INTO lf_bench ({', '.join(row)}) VALUES ({values});")  # noqa: S608 - quoted below
    return "".join(f"{line}\n" for line in lines)


def write_markdown(bench: Bench) -> str:
    """A table as llama-bench's, with what it is about above and the marks below."""
    names = ("model", "size", "runtime", "device", "threads", "test", "t/s", "first token ms", "gap p95 ms")
    marks = list(dict.fromkeys(mark for one in bench.series for mark in one.marks))
    lines = [
        f"{bench.machine_name}, {bench.system}, lf {bench.lf_version}, {bench.before.at}",
        "",
        "| " + " | ".join(names) + " |",
        "| --- | ---: | --- | --- | ---: | --- | ---: | ---: | ---: |",
        *(_write_markdown_row(one, marks) for one in bench.series),
    ]
    notes = [f"{place}. {mark}" for place, mark in enumerate(marks, 1)]
    missing = [f"* not measured: {one}" for one in bench.failures]
    missing += [] if bench.complete else ["* this bench did not come to its end"]
    return "\n".join([*lines, *([""] if notes else []), *notes, *([""] if missing else []), *missing]) + "\n"


WRITERS = {
    "json": write_json,
    "jsonl": write_json_lines,
    "csv": write_csv,
    "md": write_markdown,
    "sql": write_sql,
}
"""Formats for programs and pages, by name."""


def _write_markdown_row(series: Series, marks: Sequence[str]) -> str:
    contender, summary = series.contender, summarize(series)
    notes = ", ".join(str(marks.index(mark) + 1) for mark in series.marks)
    rate = "" if summary.rate is None else f"{summary.rate.mean:.2f}"
    if summary.rate is not None and summary.rate.sd is not None:
        rate += f" ± {summary.rate.sd:.2f}"
    cells = (
        " ".join(filter(None, (contender.model, contender.quantization))),
        "" if contender.size_bytes is None else f"{contender.size_bytes / 2**20:.2f} MiB",
        contender.runtime,
        contender.device,
        "" if contender.threads is None else str(contender.threads),
        series.workload.name,
        f"{rate} ({notes})" if notes else rate,
        _say_ms(summary.first_token_p50_s),
        _say_gap_ms(summary.gap_p95_s),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _say_ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f}"


def _say_gap_ms(seconds: float | None) -> str:
    return f"< {LEAST_GAP_S * 1000:.0f}" if seconds is not None and seconds < LEAST_GAP_S else _say_ms(seconds)


def _flatten(rows: Iterable[Row]) -> Iterable[Row]:
    return ({name: value for name, value in row.items() if name not in _LISTS} for row in rows)


def _quote(value: object) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return repr(value + 0)  # SQLite before 3.23 knows no TRUE
    return "'" + str(value).replace("'", "''") + "'"
