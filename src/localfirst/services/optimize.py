"""A model's own weights made into an ONNX folder for this machine, by the runtime's own builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.catalog.place import find_budget
from localfirst.errors import EngineError, NoFitError, StoreError, UsageError
from localfirst.hwprobe.probe import probe
from localfirst.runtimes import builder
from localfirst.runtimes.command import Limits, run_command
from localfirst.services import engines
from localfirst.services.checkpoints import KEPT
from localfirst.services.importing import is_in_catalog
from localfirst.services.threads import find_threads
from localfirst.store import formats, manifest
from localfirst.store.bundles.place import open_workplace, record_made
from localfirst.store.disk import check_space, explained, free_bytes
from localfirst.store.imports import check_name
from localfirst.types import Making, Progress
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localfirst.runtimes.builder import Cost
    from localfirst.services.checkpoints import Source
    from localfirst.types import InstalledModel, Runtime

    Report = Callable[[Progress], None]

WORK = "builds"
LIMITS = Limits(silence_s=3600, total_s=24 * 3600)
"""The builder says nothing while it quantizes one large matrix, or waits for a slow disk."""
_TAIL_LINES = 12


class Choice(NamedTuple):
    """What was asked for, looked at before anything of the model is."""

    device: str
    """As `--for` names it."""
    precision: str
    name: str | None


class Order(NamedTuple):
    """A build that is to be made: what was decided before anything is fetched or computed."""

    name: str
    source: Source
    device: str
    """As `--for` names it."""
    precision: str
    cost: Cost
    free_memory_bytes: int | None
    free_disk_bytes: int
    tool: Runtime

    @property
    def disk_bytes(self) -> int:
        """What the store's disk has to have free: the result, and the weights while it is made."""
        return self.cost.output_bytes + self.source.fetch_bytes


def log_file() -> Path:
    """Where the last build's own words are."""
    return paths.cache_dir() / "onnx-builder.log"


def choose(*, device: str, precision: str | None, name: str | None) -> Choice:
    """Look at what is asked for: the builder has it, the name can be one and is free.

    Raises:
        UsageError: the builder has no such device or precision, or the name cannot be one, or is taken.
    """
    precision = builder.choose_precision(device, precision)
    if name is not None:
        _check_free(check_name(name))
    return Choice(device, precision, name)


def plan(source: Source, choice: Choice, *, offline: bool) -> Order:
    """Decide how a checkpoint is built, and whether that can end well here.

    Raises:
        UsageError: the name that it would get is taken.
        RuntimeMissingError: without a network, the builder is not here.
        NoFitError, DiskFullError: there is too little memory, or space.
    """
    device, precision = choice.device, choice.precision
    name = choice.name or f"{source.name}-{precision}-{device}"
    _check_free(name)
    tool = engines.find_runtime(builder.NAME)
    if offline:
        tool = engines.ensure(tool, offline=True, may_install=False, report=lambda _: None)
    cost = builder.estimate(source.sizes, precision)
    free = find_budget(probe(), ())
    if free is not None and cost.memory_bytes > free:
        raise NoFitError(
            f"Not enough memory to build {source.label}: "
            f"about {format_bytes(cost.memory_bytes)} needed, {format_bytes(free)} free",
            detail=f"{source.architecture} in {precision}",
            hint="Close other programs, or build it on a machine with more memory; `lf bundle` takes it over.",
        )
    order = Order(
        name=name,
        source=source,
        device=device,
        precision=precision,
        cost=cost,
        free_memory_bytes=free,
        free_disk_bytes=free_bytes(paths.models_dir()),
        tool=tool,
    )
    check_space(paths.models_dir(), order.disk_bytes)
    return order


def _check_free(name: str) -> None:
    if is_in_catalog(name):
        raise UsageError(f"`{name}` is the name of a model in the catalog", hint="Give it another one: --name my-model")
    if any(one.name == name for one in manifest.find_own()):
        raise UsageError(
            f"There is a model named `{name}` already",
            hint=f"`lf run {name}` runs it, `lf rm {name}` removes it; or give the new one another name: --name",
        )


def build(order: Order, *, offline: bool, report: Report) -> InstalledModel:
    """Do what was planned: install the builder, fetch the weights, build, and record what came out as a model.

    Raises:
        RuntimeMissingError: the builder cannot be installed.
        EngineError: it failed; its last lines are in the detail.
        ModelFileError: what it wrote, or was to read, is no model.
        LfError: as the transfer and the store say.
    """
    tool = engines.ensure(order.tool, offline=offline, may_install=True, report=report)
    try:
        return _build(order, tool, report)
    except BaseException:
        if order.source.fetch_bytes:
            report(Progress(order.name, 0, detail={"notice": KEPT}))
        raise


def _build(order: Order, tool: Runtime, report: Report) -> InstalledModel:
    files = order.source.take(report)
    recipe = Making(
        tool=builder.TITLE,
        version=tool.version if tool.state == "installed" else builder.ask_version(tool.python or ""),
        precision=order.precision,
        device=order.device,
        options=builder.OPTIONS,
        source=order.source.label,
        files=files,
    )
    with open_workplace(report, WORK) as work:
        output = work / "model"
        _run(order, tool.python or "", work, output, report)
        with explained(output):
            found = formats.recognise(output)
        return record_made(found, order.name, recipe, license_=order.source.license, report=report)


def _run(order: Order, python: str, work: Path, output: Path, report: Report) -> None:
    words = builder.make_command(
        python, order.source.root, output, work / "cache", device=order.device, precision=order.precision
    )
    log = log_file()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as written:

            def hear(line: str) -> None:
                written.write(f"{line}\n")
                report(Progress(order.name, 0, detail={"line": line}))

            settings = builder.make_settings(work, find_threads())
            outcome = run_command(words, folder=work, on_line=hear, settings=settings, limits=LIMITS, tied=True)
    except OSError as error:
        raise StoreError("The builder's log cannot be written", detail=f"{log}\n{error}") from error
    if not outcome.ok:
        raise EngineError(
            f"The {builder.TITLE} failed on {order.source.label}",
            detail="\n".join(outcome.lines[-_TAIL_LINES:]),
            hint=f"All that it said is in {log}",
        )
