"""`lf bench`: how fast models are here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localfirst.cli import options
from localfirst.cli.bench_results import FailUnder, complete_bench, judge, show_comparison
from localfirst.cli.groups import DefaultGroup, Row, make_app
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from localfirst.bench.values import Bench
    from localfirst.services.bench.asked import Asked
    from localfirst.services.bench.run import Run

FORMATS = ("table", "json", "jsonl", "csv", "md", "sql")
REPETITIONS, WARMUPS = 5, 1
QUALITY_FORMATS = ("table", "json")


class BenchGroup(DefaultGroup):
    """`lf bench`: what is no command of it is what to measure."""

    table = MappingProxyType(
        {
            "run": Row("localfirst.cli.bench:run", "Measure how fast models are here."),
            "calibrate": Row("localfirst.cli.calibrate:calibrate", "Measure this machine, to foretell speeds."),
            "history": Row("localfirst.cli.bench_results:history", "List the benches that are kept."),
            "compare": Row("localfirst.cli.bench_results:compare", "Hold a bench against an earlier one."),
            "export": Row("localfirst.cli.bench_results:export", "Print a bench for other programs."),
            "report": Row("localfirst.cli.bench_results:report", "Write a bench as a page with plots."),
        }
    )
    default = "run"


app = make_app(cls=BenchGroup, help="Measure how fast models are here.")


@app.callback()
def bench() -> None:
    """Measure how fast models are here."""


def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Models as for `lf run`; `starter` needs no download. Without any: all that are on this disk.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ] = None,
    n_prompt: Annotated[
        list[str] | None,
        typer.Option("-p", "--n-prompt", metavar="N,...", help="Read prompts of so many tokens (pp); 512 if not said."),
    ] = None,
    n_gen: Annotated[
        list[str] | None,
        typer.Option("-n", "--n-gen", metavar="N,...", help="Generate so many tokens (tg); 128 if not said."),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option("-pg", metavar="N,N", help="Read so many tokens, then generate so many; may be repeated."),
    ] = None,
    n_depth: Annotated[
        list[str] | None,
        typer.Option("-d", "--n-depth", metavar="N,...", help="Begin after so many tokens that are read already."),
    ] = None,
    concurrency: Annotated[
        list[str] | None,
        typer.Option("--concurrency", metavar="N,...", help="Ask so many requests at the same time."),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario", metavar="chat|rag|code|FILE", help="Answer such a text, or a file's; may be repeated."
        ),
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(
            "-r", "--repetitions", metavar="N", min=1, max=1000, help="Measure each so many times; 5 if not said."
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            "--warmup", metavar="N", min=0, max=100, help="Times before them that do not count; 1 if not said."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "-t", "--threads", metavar="N", min=1, max=1024, help="Threads to compute with; all cores if not said."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("-b", "--batch", metavar="N", min=1, help="Prompt tokens to compute at once.")
    ] = None,
    ctx: options.Context = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            metavar="NAME,...",
            help="Measure in these engines or runtimes, by turns.",
            autocompletion=options.complete_backend,
        ),
    ] = None,
    all_backends: Annotated[
        bool, typer.Option("--all-backends", help="Measure in each runtime that is here and has a build here.")
    ] = False,
    api: Annotated[
        list[str] | None,
        typer.Option("--api", metavar="URL[@MODEL]", help="Measure a server, too, that speaks OpenAI's dialect."),
    ] = None,
    device: options.Device = None,
    quant: options.Quant = None,
    kv_cache: options.KvCache = None,
    output_format: Annotated[
        str, typer.Option("-o", "--output", metavar="|".join(FORMATS), help="How to print what was measured.")
    ] = "table",
    json: Annotated[bool, typer.Option("--json", help="The same as `-o json`.")] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="ID|FILE",
            help="Hold it against a bench of `lf bench history`, `last`, or a JSON file.",
            autocompletion=complete_bench,
            show_default=False,
        ),
    ] = None,
    fail_under: FailUnder = None,
    quality: Annotated[
        bool, typer.Option("--quality", help="Measure, instead of speeds, how well a text is foretold.")
    ] = False,
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="The text for that; else a built-in one.", show_default=False),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="MODEL",
            help="The build to hold the others against, for `--quality`: the least rounded one.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="Measure what a running server has loaded, there; load nothing.")
    ] = False,
    accept_license: options.AcceptLicense = False,
    no_install: options.NoInstall = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure how fast models are here.

    By turns where there are several, so that a machine that grows warm or busy does so for all. Lists and ranges are
    llama-bench's: 128,512 or 128-1024*2 or 0-4096+1024.
    """
    from localfirst.bench.compare import compare as compare_benches
    from localfirst.cli import output
    from localfirst.cli.screen import stderr_screen
    from localfirst.services.bench import results
    from localfirst.services.bench.asked import Asked, make_workloads, read_scenarios
    from localfirst.services.planning import make_wanted

    form = "json" if json else output_format
    if form not in FORMATS:
        raise UsageError(f"`-o` does not know `{form}`", detail=f"known: {', '.join(FORMATS)}")
    if backend is not None and all_backends:
        raise UsageError("`--backend` names the engines, and `--all-backends` means all: say one of them")
    scenarios = read_scenarios(scenario or ())
    asked = Asked(
        models=(*(models or ()), *(f"remote:{url.removeprefix('remote:')}" for url in api or ())),
        workloads=make_workloads(
            prompts=n_prompt or (),
            answers=n_gen or (),
            pairs=pairs or (),
            depths=n_depth or (),
            concurrency=concurrency or (),
            scenarios=scenarios,
        ),
        scenarios=scenarios,
        wanted=make_wanted(context_tokens=ctx, device=device, quantization=quant, cache=kv_cache, min_tps=0),
        backends=tuple(part.strip() for part in backend.split(",") if part.strip()) if backend else (),
        every_backend=all_backends,
        repetitions=REPETITIONS if repetitions is None else repetitions,
        warmups=WARMUPS if warmup is None else warmup,
        threads=threads,
        batch_tokens=batch,
        served=server,
    )
    allowed = {"network": not offline, "install": not no_install, "accept_license": accept_license}
    silent = quiet or (form != "table" and not sys.stderr.isatty())
    timed = (
        n_prompt,
        n_gen,
        pairs,
        n_depth,
        concurrency,
        scenario,
        repetitions,
        warmup,
        compare,
        fail_under,
        server or None,
    )
    if _is_of_quality(asked=quality, of_it=(text, reference), of_speed=timed):
        _show_quality(asked, text, reference, allowed, form=form, quiet=silent)
        return
    if fail_under is not None and compare is None:
        raise UsageError("`--fail-under` needs something to hold against", hint="Add it: `--compare last`")
    base = results.find(compare, output.print_notice) if compare else None
    bench, code = _measure(asked, allowed, quiet=silent)
    bench, kept = results.keep(bench, output.print_notice) if bench.series else (bench, False)
    output.print_bench(bench, form)
    if kept and not silent:
        output.print_notice(
            f"Bench {bench.id}; `lf bench report` draws it, `lf bench compare last~1` holds it against the one before"
        )
    comparison = compare_benches(base, bench) if base is not None else None
    if comparison is not None:
        show_comparison(comparison, screen=None if form == "table" else stderr_screen())
    if code:
        raise typer.Exit(code)
    if comparison is not None:
        judge(comparison, fail_under)


def _is_of_quality(*, asked: bool, of_it: tuple[object, ...], of_speed: tuple[object, ...]) -> bool:
    """Whether quality is measured, and not speed; the options of the one are none of the other's.

    Raises:
        UsageError: both are asked for.
    """
    if asked and any(one is not None for one in of_speed):
        raise UsageError(
            "`--quality` measures no speed", hint="Leave out `-p`, `-n`, `-d`, `-r`, `--compare` and their like"
        )
    if not asked and any(one is not None for one in of_it):
        raise UsageError("`--text` and `--reference` are for `--quality`", hint="Add it: `--quality`")
    return asked


def _show_quality(
    asked: Asked, text: Path | None, reference: str | None, allowed: dict[str, Any], *, form: str, quiet: bool
) -> None:
    """Measure and print how well a text is foretold."""
    from localfirst.cli import consent, output
    from localfirst.cli.progress import measure_until_stopped, show_progress
    from localfirst.services.bench import results
    from localfirst.services.bench.quality import Quality, read_text
    from localfirst.services.preparing import Allowed

    if form not in QUALITY_FORMATS:
        raise UsageError(f"`--quality` does not print `{form}`", detail=f"known: {', '.join(QUALITY_FORMATS)}")
    content = read_text(text)

    def prepare(accepted: bool) -> Quality:
        with show_progress(quiet=quiet) as report:
            agreed = Allowed(**{**allowed, "accept_license": accepted})
            one = Quality(asked, reference, content, agreed, tuple(sys.argv[1:]))
            one.prepare(report)
            return one

    one = consent.ask(prepare, accepted=allowed["accept_license"])
    code = measure_until_stopped(one.measure, quiet=quiet)
    found = one.finish()
    if found.rows:
        results.keep_quality(found, output.print_notice)
        output.print_quality(found, json=form == "json")
    elif not code:
        raise one.errors[0]
    if code or one.errors:
        raise typer.Exit(code or one.errors[0].exit_code)


def _measure(asked: Asked, allowed: dict[str, Any], *, quiet: bool) -> tuple[Bench, int]:
    """The bench as far as it came, and the exit code: 0, the first failure's, or that of the signal that ended it."""
    from localfirst.cli import consent
    from localfirst.cli.progress import measure_until_stopped, show_progress
    from localfirst.server.through import find_held
    from localfirst.services.bench.run import Run
    from localfirst.services.preparing import Allowed

    def prepare(accepted: bool) -> Run:
        with show_progress(quiet=quiet) as report:
            one = Run(asked, tuple(sys.argv[1:]), Allowed(**{**allowed, "accept_license": accepted}), find_held)
            one.prepare(report)
            return one

    one = consent.ask(prepare, accepted=allowed["accept_license"])
    code = measure_until_stopped(one.measure, quiet=quiet)
    bench = one.finish()
    problems = [*one.errors, *one.refusals]
    if problems and not bench.series and not code:
        raise problems[0]
    return bench, code or (one.errors[0].exit_code if one.errors else 0)
