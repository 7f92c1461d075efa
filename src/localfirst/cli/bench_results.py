"""`lf bench history`, `compare`, `export` and `report`: what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options
from localfirst.errors import LfError, UsageError

if TYPE_CHECKING:
    from localfirst.bench.compare import Comparison
    from localfirst.cli.screen import Screen


def complete_bench(incomplete: str) -> list[str]:
    """Ids for the shell; none where they cannot be read, and nothing is put aside for it."""
    from localfirst.store.results import peek

    return [one for one in (*peek(), "last") if one.startswith(incomplete)]


def parse_share(text: str) -> float:
    """`5%` as 0.05, for an option."""
    number = text.strip().removesuffix("%").strip()
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not text.strip().endswith("%") or not 0 <= share < 1:
        raise typer.BadParameter(f"{text!r} is no share such as 5%")
    return share


BenchArgument = Annotated[
    str,
    typer.Argument(
        metavar="[ID]",
        help="An id of `lf bench history`, `last`, `last~1` for the one before, or a JSON file.",
        autocompletion=complete_bench,
    ),
]
FailUnder = Annotated[
    float | None,
    typer.Option(
        "--fail-under",
        metavar="SHARE",
        parser=parse_share,
        help="Exit with 12 where a figure is worse by more than this, e.g. 5%, and outside noise.",
        show_default=False,
    ),
]


def history(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Show how fast this one was each time.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", metavar="N", min=1, help="At most so many.")] = 20,
    quality: Annotated[bool, typer.Option("--quality", help="Those of `lf bench --quality`, build by build.")] = False,
    json: options.Json = False,
) -> None:
    """List the benches that are kept.

    The newest first; with a model, its figures over time.
    """
    from localfirst.cli import output
    from localfirst.cli.views import bench_results
    from localfirst.services.bench.results import list_benches

    if quality:
        _show_qualities(model, number, json=json)
        return
    benches = list_benches(model, number, output.print_notice)
    if not benches and not json:
        output.print_notice(
            "No bench is kept yet; `lf bench MODEL` makes one" if model is None else "No bench of that is kept"
        )
        return
    render = bench_results.render_history if model is None else bench_results.render_course
    output.print_report(
        lambda screen: render(benches, screen), lambda: bench_results.history_to_json(benches), json=json
    )


def _show_qualities(model: str | None, number: int, *, json: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.views import quality
    from localfirst.services.bench.results import list_qualities

    found = list_qualities(model, number, output.print_notice)
    if not found and not json:
        output.print_notice("Nothing of that is kept; `lf bench MODEL --quality` measures it")
        return
    output.print_report(
        lambda screen: quality.render_history(found, screen),
        lambda: {"qualities": [quality.to_json(one) for one in found]},
        json=json,
    )


def compare(
    before: Annotated[
        str,
        typer.Argument(
            metavar="BEFORE",
            help="What to hold against: an id of `lf bench history`, `last~1`, or a JSON file.",
            autocompletion=complete_bench,
        ),
    ],
    after: BenchArgument = "last",
    fail_under: FailUnder = None,
    json: options.Json = False,
) -> None:
    """Hold a bench against an earlier one.

    Only what is alike is compared: the same machine, files, settings and tests. Changes are ratios of geometric means,
    each with where it lies with a confidence of 95 % (Welch's interval).
    """
    from localfirst.cli import output
    from localfirst.services.bench.results import compare_named

    comparison = compare_named(before, after, output.print_notice)
    show_comparison(comparison, json=json)
    judge(comparison, fail_under)


def show_comparison(comparison: Comparison, *, json: bool = False, screen: Screen | None = None) -> None:
    """Print a comparison."""
    from localfirst.cli import output
    from localfirst.cli.views import bench_results

    output.print_report(
        lambda screen: bench_results.render_comparison(comparison, screen),
        lambda: bench_results.comparison_to_json(comparison),
        json=json,
        screen=screen,
    )


def judge(comparison: Comparison, fail_under: float | None) -> None:
    """Hold a comparison to the bar if there is one.

    Raises:
        BenchBelowError: something is below the bar.
        UsageError: the two have nothing in common, and there is no bar.
    """
    from localfirst.services.bench.results import require

    if fail_under is not None:
        require(comparison, fail_under)
    elif not comparison.pairs:
        raise UsageError("The two have nothing in common that could be compared")


def export(
    bench: BenchArgument = "last",
    output_format: Annotated[
        str, typer.Option("-o", "--output", metavar="json|jsonl|csv|md|sql", help="In which form.")
    ] = "json",
) -> None:
    """Print a bench for other programs.

    As JSON it is whole, with every sample, and `lf bench compare` reads it; the others have a row for each test.
    """
    from localfirst.bench.rows import WRITERS
    from localfirst.cli import output
    from localfirst.services.bench.results import find

    if output_format not in WRITERS:
        raise UsageError(f"`-o` does not know `{output_format}`", detail=f"known: {', '.join(WRITERS)}")
    output.print_text(WRITERS[output_format](find(bench, output.print_notice)))


def report(
    bench: BenchArgument = "last",
    target: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to write it; `lf-bench-ID.html` if not said."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    json: options.Json = False,
) -> None:
    """Write a bench as a page with plots.

    One file that needs no network, for a screen, a phone or paper.
    """
    from localfirst.cli import output
    from localfirst.cli.report import page
    from localfirst.cli.screen import line
    from localfirst.services.bench.results import find

    found = find(bench, output.print_notice)
    path = target or Path(f"lf-bench-{page.make_file_name(found.id)}.html")
    try:
        path.write_text(page.render(found), encoding="utf-8", newline="\n")
    except OSError as error:
        raise LfError(f"The page cannot be written: {error.strerror}", detail=str(path)) from error
    output.print_report(lambda _: [line(str(path))], lambda: {"report": str(path)}, json=json)
    if open_ and not page.show(path):
        output.print_notice("No browser could be opened here")
