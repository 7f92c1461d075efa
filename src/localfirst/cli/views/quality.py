"""How well builds foretell a text, for people and for programs."""

from __future__ import annotations

from math import expm1
from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import line
from localfirst.cli.views.bench import hang
from localfirst.cli.views.bench_results import say_time
from localfirst.cli.views.table import Column, fit, format_header, format_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.bench.quality import Comparison, Mean, Report, Row
    from localfirst.cli.screen import Screen

LARGE = 1000
SCHEMA = "lf.quality/1"
COLUMNS = (
    Column("MODEL"),
    Column("BUILD", 1),
    Column("RUNTIME", 4),
    Column("PERPLEXITY", right=True),
    Column("LOSS", 2, right=True),
    Column("KL", 2, right=True),
    Column("SAME BEST", 3, right=True),
    Column("MARK"),
)
_HISTORY = (Column("BEGUN"), Column("TEXT", 5), *COLUMNS)


def render_quality(report: Report, screen: Screen) -> list[str]:
    """All of it."""
    rows = [_make_row(row) for row in report.rows]
    widths = fit(COLUMNS, rows, screen.width)
    return [
        screen.paint(format_header(widths), "dim"),
        *(format_row(widths, row) for row in rows),
        "",
        *(part for note in _say_notes(report) for part in hang(note, screen.width)),
    ]


def render_history(reports: Sequence[Report], screen: Screen) -> list[str]:
    """What is kept, a line for each build."""
    rows = [
        {"BEGUN": say_time(report.at), "TEXT": line(report.text)}
        | _make_row(row)
        | {"PERPLEXITY": _say(row.quality.perplexity._replace(error=None), 4)}  # LOSS says more, and has to fit
        for report in reports
        for row in report.rows
    ]
    widths = fit(_HISTORY, rows, screen.width)
    return [screen.paint(format_header(widths), "dim"), *(format_row(widths, row) for row in rows)]


def to_json(report: Report) -> dict[str, Any]:
    """The object of `--quality --json`: costs, losses and divergences in nats, shares 0 to 1."""
    return {
        "schema": SCHEMA,
        "at": report.at,
        "machine": report.machine,
        "machine_name": report.machine_name,
        "system": report.system,
        "lf_version": report.lf_version,
        "arguments": list(report.arguments),
        "text": report.text,
        "text_sha256": report.text_sha256,
        "whole": report.whole,
        "complete": report.complete,
        "results": [_describe(row) for row in report.rows],
        "failures": list(report.failures),
    }


def _make_row(row: Row) -> dict[str, str]:
    compared = row.comparison
    return {
        "MODEL": line(row.contender.model),
        "BUILD": line(row.contender.variant),
        "RUNTIME": line(row.contender.runtime),
        "PERPLEXITY": _say(row.quality.perplexity, 4),
        "LOSS": f"{compared.excess.value:+.4f} ± {compared.excess.error or 0:.4f}" if compared else "",
        "KL": _say(compared.divergence, 3) if compared and compared.divergence else "",
        "SAME BEST": f"{compared.same_best.value:.1%}" if compared and compared.same_best else "",
        "MARK": ", ".join(name for name, holds in (("reference", row.is_reference), ("partial", row.partial)) if holds),
    }


def _say(mean: Mean, digits: int) -> str:
    """`6.123 ± 0.045`; large ones, of a model that does not know the language, as `1,395,000 ± 260,000`."""
    form = ",.0f" if mean.value >= LARGE else f".{digits}g"
    if mean.error is None:
        return f"{mean.value:{form}}"
    return f"{mean.value:{form}} ± {mean.error:{',.0f' if mean.value >= LARGE else '.2g'}}"


def _say_notes(report: Report) -> Iterator[str]:
    tokens = dict.fromkeys(row.quality.tokens for row in report.rows)
    part = "" if report.whole else ", its beginning"
    yield f"-  {line(report.text)}{part}: {' and '.join(map(str, tokens))} tokens; ± is one standard error"
    yield "-  PERPLEXITY: between so many tokens the model is undecided. Lower is better, among builds of one model"
    if len(report.rows) > 1 and not any(row.is_reference for row in report.rows):
        yield "-  Only builds of one model can be compared, by `--reference`: others cut a text into other tokens"
    compared = [row.comparison for row in report.rows if row.comparison]
    if compared:
        yield (
            "-  LOSS is what a token costs more than by the reference, in nats: near 0 is as good as that, and what is "
            "less than ± may be chance"
        )
    for row in report.rows:
        if row.comparison:
            more = expm1(row.comparison.excess.value)
            name = line(f"{row.contender.variant} by {row.contender.runtime}")
            yield f"-  {name}: the perplexity is {abs(more):.1%} {'higher' if more > 0 else 'lower'}"
    told = [one.told for one in compared if one.told is not None]
    if told:
        yield (
            "-  KL is how far the chances of all tokens moved: 0 is not at all. It is at least so large: engines tell "
            f"the chances of the likeliest tokens only, here {min(told):.2%} of all"
        )
    if any(one.divergence is None for one in compared):
        yield "-  Without KL: the engine tells of the text's own tokens alone"
    if any(row.partial for row in report.rows):
        yield (
            "-  `partial` was stopped before the end of the text. LOSS and KL are of the same tokens in both builds; a "
            "PERPLEXITY of fewer tokens stands for itself"
        )
    for failure in report.failures:
        yield f"!  Not measured: {line(failure)}"
    if not report.complete:
        yield "!  This measurement did not come to its end"


def _describe(row: Row) -> dict[str, Any]:
    return {
        "contender": row.contender._asdict(),
        "reference": row.is_reference,
        "partial": row.partial,
        "tokens": row.quality.tokens,
        "cost": row.quality.cost._asdict(),
        "perplexity": row.quality.perplexity._asdict(),
        **_describe_comparison(row.comparison),
    }


def _describe_comparison(compared: Comparison | None) -> dict[str, Any]:
    if compared is None:
        return {"loss": None, "kl_at_least": None, "same_best": None, "kl_told": None}
    return {
        "loss": compared.excess._asdict(),
        "kl_at_least": compared.divergence and compared.divergence._asdict(),
        "same_best": compared.same_best and compared.same_best._asdict(),
        "kl_told": compared.told,
    }
