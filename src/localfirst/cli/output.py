"""The only place that prints: values in, text or JSON out. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json as json_format
import sys
from typing import TYPE_CHECKING

from localfirst.cli.screen import Screen, block, clip, line, measure, stderr_screen, stdout_screen, wrap
from localfirst.cli.views import details, listing, shapes, words
from localfirst.errors import UsageError
from localfirst.units import format_bytes, format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from localfirst.bench.quality import Report
    from localfirst.bench.values import Bench
    from localfirst.conversation import Answer, Embedding, ToolCall
    from localfirst.errors import LfError
    from localfirst.services.bench.calibrate import Calibration
    from localfirst.services.catalogue import Catalog
    from localfirst.services.check import Check
    from localfirst.services.engines import EngineTest
    from localfirst.services.files import Verified
    from localfirst.services.library import Part
    from localfirst.services.pins import PinCheck
    from localfirst.services.yardstick import Gain
    from localfirst.store.pack import Packed
    from localfirst.store.revisions import History
    from localfirst.types import InstalledModel, Machine, Model, Plan, Resolution, Runtime


def print_text(text: str) -> None:
    """Print a text of ours as it is."""
    stdout_screen().write(text)


def print_json(value: object) -> None:
    """Print one JSON object, on one line; what is not ASCII is escaped, so that nothing in it drives a terminal."""
    stdout_screen().write(json_format.dumps(value) + "\n")


def print_error(error: LfError, *, json: bool = False, screen: Screen | None = None) -> None:
    """Print what happened, the evidence, and what to type next; under `--json` the same as one line of JSON."""
    screen = screen or stderr_screen()
    if json:
        screen.write(json_format.dumps(shapes.error_to_json(error)) + "\n")
        return
    lines = _wrap_labelled("error:", "bold red", error.message, screen)
    for row in block(error.detail or ""):
        fits = screen.width is None or measure(row) <= screen.width
        lines += [row] if fits else wrap(row, screen.width, "  ")
    if error.hint:
        lines += ["", *_wrap_labelled("hint:", "bold", error.hint, screen)]
    screen.write_lines(lines)


def _wrap_labelled(label: str, style: str, text: str, screen: Screen) -> list[str]:
    first, *others = wrap(f"{label} {line(text)}", screen.width)
    return [screen.paint(label, style) + first.removeprefix(label), *others]


def print_report(
    render: Callable[[Screen], Sequence[str]],
    record: Callable[[], object],
    *,
    json: bool = False,
    screen: Screen | None = None,
) -> None:
    """Print a result: as `render` draws it for a screen, or under `--json` as the object that `record` makes."""
    if json:
        return print_json(record())
    screen = screen or stdout_screen()
    return screen.write_lines(render(screen))


def print_notice(text: str, screen: Screen | None = None) -> None:
    """Print a remark that is no result."""
    screen = screen or stderr_screen()
    screen.write_lines(screen.paint(row, "dim") for row in wrap(line(text), screen.width))


def print_machine(machine: Machine, *, json: bool = False, screen: Screen | None = None) -> None:
    """Print what this machine is."""
    if json:
        return print_json(shapes.machine_to_json(machine))
    screen = screen or stdout_screen()
    return screen.write_lines(details.render_machine(machine, screen))


def print_profiles(machines: Mapping[str, Machine], *, json: bool = False, screen: Screen | None = None) -> None:
    """Print the recorded machines that can be asked for."""
    if json:
        return print_json(shapes.machines_to_json(machines))
    screen = screen or stdout_screen()
    return screen.write_lines(listing.render_machines(machines, screen))


def print_checks(
    checks: Iterable[Check], *, json: bool = False, verbose: bool = False, screen: Screen | None = None
) -> int:
    """Print checks as they are done; the number of problems among them."""
    screen = screen or stdout_screen()
    done = []
    for check in checks:
        done.append(check)
        if not json:
            screen.write_lines(details.render_check(check, screen, verbose=verbose))
    problems = sum(check.state == "problem" for check in done)
    if json:
        print_json(shapes.checks_to_json(done))
    else:
        found = f"{problems} problem{'' if problems == 1 else 's'} found" if problems else "No problem found"
        screen.write_lines(["", screen.paint(found, "bold red" if problems else "bold green")])
    return problems


def print_recorded(path: Path, *, json: bool = False) -> None:
    """Print where the record of this machine was written."""
    if json:
        return print_json({"record": str(path)})
    text = f"{line(str(path))} holds what lf reads of this machine; use it with --profile {line(str(path))}"
    return stdout_screen().write_lines([text])


def print_models(
    plans: Sequence[Plan],
    *,
    explain_nothing: Callable[[], str] = lambda: "No models to show",
    json: bool = False,
    screen: Screen | None = None,
) -> None:
    """Print the best plan of each model, or why there is none."""
    if json:
        return print_json(shapes.plans_to_json(plans))
    screen = screen or stdout_screen()
    if not plans:
        return print_notice(explain_nothing())
    screen.write_lines(listing.render_models(plans, screen))
    if screen.terminal:
        hint = wrap("lf run NAME starts one, lf model explain NAME says why this build", screen.width)
        screen.write_lines(["", *(screen.paint(text, "dim") for text in hint)])
    return None


def print_model_info(
    model: Model,
    plans: Sequence[Plan],
    histories: Sequence[History],
    parts: Sequence[Part] = (),
    *,
    json: bool = False,
    screen: Screen | None = None,
) -> None:
    """Print all that is known of a model; `plans` are best first, `parts` builds that were not fetched to the end."""
    if json:
        return print_json(shapes.model_to_json(model, plans, histories, parts))
    screen = screen or stdout_screen()
    return screen.write_lines(details.render_model(model, plans, histories, parts, screen))


def print_explanation(resolution: Resolution, *, json: bool = False, screen: Screen | None = None) -> None:
    """Print the choice, and why each other candidate lost."""
    if json:
        return print_json(shapes.resolution_to_json(resolution))
    screen = screen or stdout_screen()
    return screen.write_lines(details.render_explanation(resolution, screen))


def print_choice(plan: Plan, screen: Screen | None = None) -> None:
    """Print, beside the results, what was chosen to run."""
    screen = screen or stderr_screen()
    screen.write_lines(details.render_choice(plan, screen))


def print_short_context(plan: Plan, wanted_tokens: int | None) -> None:
    """Print that the context is shorter than the one asked for, where it is."""
    if wanted_tokens and plan.context_tokens and plan.context_tokens < wanted_tokens:
        asked = f"{plan.context_tokens:,} tokens, not the {wanted_tokens:,} asked for"
        name = words.name_plan(plan)
        print_notice(f"The context of {name} is {asked}; `lf model explain {name} --ctx {wanted_tokens}` says why")


def print_runtimes(runtimes: Sequence[Runtime], *, json: bool = False, screen: Screen | None = None) -> None:
    """Print the engines of this machine."""
    if json:
        return print_json(shapes.runtimes_to_json(runtimes))
    screen = screen or stdout_screen()
    return screen.write_lines(listing.render_runtimes(runtimes, screen))


def print_catalogs(catalogs: Sequence[Catalog], *, json: bool = False, screen: Screen | None = None) -> None:
    """Print what is in each catalog, and what is wrong with it."""
    if json:
        return print_json(shapes.catalogs_to_json(catalogs))
    screen = screen or stdout_screen()
    return screen.write_lines(listing.render_catalogs(catalogs, screen))


def print_pin_checks(checks: Iterable[PinCheck], *, json: bool = False, screen: Screen | None = None) -> list[PinCheck]:
    """Print builds as they are compared with the hub; all of them, for what comes next."""
    screen = screen or stdout_screen()
    done = []
    for check in checks:
        done.append(check)
        if not json:
            screen.write_lines(details.render_pin_check(check, screen))
    if json:
        print_json(shapes.pin_checks_to_json(done))
    return done


def print_tests(tests: Sequence[EngineTest], *, json: bool = False, screen: Screen | None = None) -> None:
    """Print how the self-tests of runtimes went."""
    if json:
        return print_json(shapes.tests_to_json(tests))
    screen = screen or stdout_screen()
    for test in tests:
        screen.write_lines(_render_test(test, screen))
    return None


def _render_test(test: EngineTest, screen: Screen) -> list[str]:
    if test.error is not None:
        detail = block(test.error.detail, "      ") if test.error.detail else []
        return [f"{screen.paint('FAIL', 'bold red')}  {test.runtime.name}: {line(test.error.message)}", *detail]
    rate = test.answer.timings.decode_tps if test.answer else None
    facts = (
        f"{test.runtime.engine} {line(test.engine_version)} on {line(test.device)}",
        f"loaded in {format_seconds(test.load_s)}",
        f"{format_tps(rate)} tokens/s" if rate is not None else "",
    )
    return [f"{screen.paint('ok', 'bold green')}    {test.runtime.name}: {', '.join(fact for fact in facts if fact)}"]


def print_installed(runtime: Runtime) -> None:
    """Print that a runtime is there."""
    stdout_screen().write_lines([f"{runtime.name} is ready: {line(runtime.engine)} {line(runtime.version)}"])


def print_packed(packed: Packed, *, json: bool = False) -> None:
    """Print what a llamafile is, and what to know of it."""
    if json:
        return print_json({**packed._asdict(), "path": str(packed.path)})
    stdout_screen().write_lines(
        [
            f"{line(str(packed.path))}: {format_bytes(packed.size_bytes)}",
            f"sha256 of the file:  {packed.sha256}",
            f"sha256 of the model: {packed.model_sha256}",
        ]
    )
    if packed.size_bytes >= 4 * 2**30:
        print_notice("Windows runs no program of 4 GB or more; there, start it by a llamafile: `llamafile -m FILE`")
    return None


def print_gain(gain: Gain) -> None:
    """Print what compiling an engine brought."""
    stdout_screen().write_lines([line(gain.say())])


def print_pulled(model: InstalledModel, *, json: bool = False) -> None:
    """Print that a model is on this disk."""
    if json:
        return print_json({"event": "done"} | shapes.installed_to_json(model))
    return stdout_screen().write_lines([f"{_name_installed(model)} is ready: {_measure_files(model)}, verified"])


def print_removed(freed: Mapping[str, int], *, json: bool = False) -> None:
    """Print that runtimes are gone, and the bytes that each freed."""
    if json:
        return print_json(shapes.removed_to_json(freed))
    rows = [f"{line(name)} is removed: {format_bytes(freed_bytes)} freed" for name, freed_bytes in freed.items()]
    return stdout_screen().write_lines(rows)


def print_verified(verified: Sequence[Verified], *, json: bool = False, screen: Screen | None = None) -> None:
    """Print which models' bytes are what they should be."""
    if json:
        return print_json(shapes.verified_to_json(verified))
    screen = screen or stdout_screen()
    if not verified:
        return print_notice("No models on this disk")
    for one in verified:
        state = "repaired" if one.repaired else "BAD" if one.problems else "ok "
        mark = screen.paint(state, "bold red" if state == "BAD" else "bold green")
        screen.write_lines([f"{mark}  {_name_installed(one.model)}: {_measure_files(one.model)}"])
        for problem in one.problems:
            detail = [] if one.repaired else block(problem.detail, "       ")
            screen.write_lines([f"     {line(problem.path)}: {problem.problem}", *detail])
        if one.error:
            screen.write_lines([f"     {text}" for text in _explain_failure(one.error, screen)])
        elif one.remedy:
            screen.write_lines([f"     {text}" for text in wrap(line(one.remedy), screen.width and screen.width - 5)])
    return None


def _explain_failure(error: LfError, screen: Screen) -> list[str]:
    said = [f"not repaired: {error.message}", *(error.detail or "").splitlines(), error.hint or ""]
    return [row for text in said if text for row in wrap(line(text), screen.width and screen.width - 5)]


def _name_installed(model: InstalledModel) -> str:
    return line(model.full_name)


def _measure_files(model: InstalledModel) -> str:
    count = len(model.files)
    return f"{format_bytes(model.size_bytes)} in {count} file{'' if count == 1 else 's'}"


def print_answer(plan: Plan, answer: Answer) -> None:
    """Print a finished answer as one JSON object."""
    print_json(shapes.answer_to_json(plan, answer))


def print_calls(calls: Sequence[ToolCall]) -> None:
    """Print the tools that the model asks for, a line each."""
    stdout_screen().write_lines([f"{line(call.name)}({line(call.arguments_json)})" for call in calls])


def print_embedding(index: int, text: str, embedding: Embedding, *, json: bool, screen: Screen | None = None) -> None:
    """Print the vector of a text: whole as a line of JSON, or its beginning for a person."""
    screen = screen or stdout_screen()
    if json or not screen.terminal:
        return print_json({"index": index, "text": text, "embedding": embedding.vector, "tokens": embedding.tokens})
    return screen.write_lines([clip(words.say_embedding(index, text, embedding), screen.width or 80)])


def print_bench(bench: Bench, form: str, screen: Screen | None = None) -> None:
    """Print a bench: for people (`table`), or in a format of `bench.rows`."""
    from localfirst.bench.rows import WRITERS
    from localfirst.cli.views.bench import render_bench

    screen = screen or stdout_screen()
    if form == "table":
        return screen.write_lines(render_bench(bench, screen))
    return screen.write(WRITERS[form](bench))


def print_calibration(found: Calibration, *, json: bool, screen: Screen | None = None) -> None:
    """Print what a calibration found."""
    from localfirst.cli.views.calibrate import calibration_to_json, render_calibration

    screen = screen or stdout_screen()
    if json:
        return print_json(calibration_to_json(found))
    return screen.write_lines(render_calibration(found, screen))


def print_quality(report: Report, *, json: bool, screen: Screen | None = None) -> None:
    """Print how well builds foretell a text."""
    from localfirst.cli.views.quality import render_quality, to_json

    screen = screen or stdout_screen()
    if json:
        return print_json(to_json(report))
    return screen.write_lines(render_quality(report, screen))


def print_stats(answer: Answer, screen: Screen | None = None) -> None:
    """Print the tokens and the speed of an answer."""
    print_notice(words.say_stats(answer), screen)


def require_terminal_without(prompt: str, *, json: bool) -> bool:
    """Whether to chat: there is no prompt to answer, and there is a terminal to chat in.

    Raises:
        UsageError: there is neither, or `--json` asks for one answer and there is nothing to answer.
    """
    if prompt:
        return False
    if json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        why = "`--json` answers one prompt" if json else "There is no terminal to chat in"
        raise UsageError(f"{why}, and no prompt was given", hint='Add one: `lf run MODEL "PROMPT"`')
    return True
