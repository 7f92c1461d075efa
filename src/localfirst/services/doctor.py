"""What works here, what does not, and what to type: every check looks at one thing and says what it saw."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localfirst import paths
from localfirst.catalog.place import explain_missing_device, find_devices, find_seen
from localfirst.catalog.rules import READY_STATES
from localfirst.errors import CatalogError, LfError, UsageError
from localfirst.hwprobe.probe import probe
from localfirst.services import engines
from localfirst.services.catalogue import find_catalogs, load_models
from localfirst.services.check import Check
from localfirst.services.check_compiler import check_compiler
from localfirst.services.sight import find_sights
from localfirst.services.usage import find_location
from localfirst.store import manifest, revisions
from localfirst.store.disk import size_on_disk
from localfirst.store.keepers import is_tool
from localfirst.store.net import endpoint, network, tokens
from localfirst.store.verify import check_quick
from localfirst.units import GB, format_bytes, format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from localfirst.services.check import State
    from localfirst.services.engines import EngineTest
    from localfirst.services.sight import Sight
    from localfirst.types import Device, InstalledModel, Machine, Runtime

LITTLE_DISK_BYTES = 5 * GB
"""Less than this holds no model that is worth the name, with its engine."""
FULL_DISK_BYTES = 10**6
"""Less than this holds nothing that `lf` writes: no measurement, no lock, no listing of a hub."""
MORE_DISK = "Free some by `lf store gc` or `lf rm`, or put the models on a larger disk: `lf store move DIR`"
SETTINGS = (
    "LF_HOME", "LF_OFFLINE", "LF_MIRROR", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""Environment that changes what `lf` does; shown as it is set, without passwords."""


def examine(*, network: bool = False) -> Iterator[Check]:
    """Every check, one after another, as it is done.

    Args:
        network: ask the hub too; nothing is connected to otherwise.
    """
    yield _check_python()
    yield from _check_machine()
    yield from _check_folders()
    yield _check_terminal()
    yield _check_settings()
    yield _check_proxies()
    yield _check_token()
    yield from _check_catalogs()
    yield from _check_store()
    yield from _check_runtimes()
    yield from check_compiler()
    if network:
        yield from _check_network()


def record_to(path: Path, *, force: bool = False) -> None:
    """Write what the probe reads on this machine to a file, for `--profile` and for reports.

    Raises:
        UsageError: the file exists, or cannot be written.
    """
    from localfirst.hwprobe.recorder import record_machine

    if path.exists() and not force:
        raise UsageError(f"`{path}` exists already", hint="Name another file, or add `--force` to replace it")
    text = json.dumps(record_machine(), indent=1, ensure_ascii=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"`{path}` cannot be written", detail=error.strerror) from error


def _check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", "ok", f"{sys.implementation.name} {version}", (sys.executable,))


def _check_machine() -> Iterator[Check]:
    machine = probe()
    cores = machine.cpu.cores_usable
    summary = f"{machine.cpu.name or machine.cpu.arch}, {cores or '?'} cores to compute with"
    yield Check("Processor", "ok" if cores else "warning", summary, (" ".join(machine.cpu.features),))
    memory = machine.memory
    known = memory.available_bytes is not None
    summary = f"{format_bytes(memory.available_bytes)} free of {format_bytes(memory.limit_bytes or memory.total_bytes)}"
    yield Check("Memory", "ok" if known else "warning", summary)
    runtimes = engines.find_runtimes()
    sights = find_sights(runtimes, machine)
    yield from (judge_device(device, machine, runtimes, sights) for device in machine.devices)
    if machine.warnings:
        hint = "Send what `lf doctor --record FILE` writes with a report of it"
        yield Check("Probe", "warning", "not all of this machine could be read", machine.warnings, hint)


def judge_device(device: Device, machine: Machine, runtimes: Sequence[Runtime], sights: Mapping[str, Sight]) -> Check:
    """What computes on a device: it is there, its system exposes it, an engine is for it, and that engine sees it.

    Args:
        device: one of the machine's.
        machine: the machine.
        runtimes: every runtime of this release, as it stands there.
        sights: what the engines that were asked see.
    """
    alone = machine._replace(devices=(device,))
    evidence = (device.reason,) if device.reason else ()
    if not device.usable:
        state: State = "note" if device.kind == "npu" else "warning"
        return Check("Device", state, f"{device.name} cannot be used: {device.reason}")
    fit = [one for one in runtimes if one.state != "unavailable" and find_devices(alone, one)]
    if not fit:
        missing = (explain_missing_device(alone, one) for one in runtimes if one.state != "unavailable")
        old = next((reason for reason in missing if reason and device.name in reason), None)
        return Check("Device", "note", f"{device.name}: {old or 'no runtime of this release computes on it'}", evidence)
    ready = [one for one in fit if one.state in READY_STATES]
    blind = {one.name: reason for one in ready if (reason := _explain_blindness(device, machine, one, sights))}
    names = " and ".join(one.name for one in ready if one.name not in blind)
    if names:
        return Check("Device", "ok", f"{device.name}: {names} can compute on it", evidence)
    reasons = tuple(f"{name}: {reason}" for name, reason in blind.items())
    if reasons:
        return Check("Device", "warning", f"{device.name}: no installed engine sees it", (*evidence, *reasons))
    hint = f"Type `lf runtime install {fit[0].name}`, or let the first `lf run` do it"
    return Check("Device", "note", f"{device.name}: {fit[0].name} would compute on it", evidence, hint)


def _explain_blindness(device: Device, machine: Machine, runtime: Runtime, sights: Mapping[str, Sight]) -> str | None:
    """Why a runtime's engine does not see a device; `None` where it does, or was not asked."""
    sight = sights.get(runtime.name)
    if sight is None or (not sight.reason and device in find_seen(machine, runtime._replace(sees=sight.devices))):
        return None
    return sight.reason or f"its engine sees {', '.join(sight.devices)}, and not this one"


def _check_folders() -> Iterator[Check]:
    for name, folder in {"Data folder": paths.data_dir(), "Cache folder": paths.cache_dir()}.items():
        yield _check_folder(name, folder)
    try:
        location = find_location()
    except LfError as error:
        yield _judge_error("Store folder", error)
        return
    if location.decided_by == "move" and location.exists:
        yield _check_folder("Store folder", location.models)
    if location.source or location.target:
        evidence = (f"from {location.source or location.models} to {location.target or location.models}",)
        hint = f"End it: `lf store move {location.target or location.models}`"
        yield Check("Store folder", "warning", "a move of the store was not ended", evidence, hint)
    for store in location.shared:
        found = store.root.problem or f"{_count_models(store.models)}, only read"
        state: State = "note" if store.root.problem else "ok"
        mend = "Mend LF_SHARED_STORES, or ask who keeps that store" if store.root.problem else None
        yield Check("Shared store", state, f"{store.root.named}: {found}", (str(store.root.models),), mend)


def _judge_error(name: str, error: LfError) -> Check:
    return Check(name, "problem", error.message, (error.detail or "",), error.hint)


def _count_models(models: Sequence[InstalledModel]) -> str:
    """`1 model, 2.49 GB`; the bytes are the store's own."""
    size = format_bytes(sum(model.size_bytes for model in models if model.keeper is None))
    kept = sum(is_tool(model.keeper) for model in models)
    theirs = f", {kept} of them kept by other tools" if kept else ""
    return f"{len(models)} model{'' if len(models) == 1 else 's'}, {size}{theirs}"


def _check_folder(name: str, folder: Path) -> Check:
    """Whether the folder, or what it is to be made in, can be written to, and how much room there is."""
    if (obstacle := paths.find_obstacle(folder)) is not None:
        return Check(name, "problem", f"{folder} cannot be written to", (obstacle,), paths.WRITABLE_HINT)
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(place).free
    summary = f"{folder}, {format_bytes(free_bytes)} free"
    if free_bytes < LITTLE_DISK_BYTES:
        return Check(name, "problem" if free_bytes < FULL_DISK_BYTES else "warning", summary, hint=MORE_DISK)
    return Check(name, "ok", summary)


def _check_catalogs() -> Iterator[Check]:
    """The built-in catalog, and what is left out of each that was added."""
    try:
        catalogs = find_catalogs()
    except CatalogError as error:
        yield Check("Catalog", "problem", error.message, (error.detail or "",), "Install localfirst again")
        return
    for catalog in catalogs:
        summary = f"{catalog.name}, {len(catalog.models)} models"
        if catalog.mistakes:
            hint = f"Mend {catalog.path}, or remove it: `lf catalog remove {catalog.name}`"
            count = len(catalog.mistakes)
            summary += f", and others left out by {count} mistake{'' if count == 1 else 's'}"
            yield Check("Catalog", "warning", summary, catalog.mistakes, hint)
        else:
            yield Check("Catalog", "ok", summary)


def _check_terminal() -> Check:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding in {"utf8", "utf16", "cp65001"}:
        return Check("Terminal", "ok", "shows every character")
    hint = "Set `PYTHONUTF8=1`, or a locale such as `LANG=C.UTF-8`"
    return Check("Terminal", "warning", f"shows only what {encoding or 'its encoding'} has", (), hint)


def _check_settings() -> Check:
    shown = tuple(f"{name}={_hide_password(value)}" for name in SETTINGS if (value := os.environ.get(name)))
    try:
        network.make_certificates()
        url = endpoint.find_url()
    except LfError as error:
        return Check("Settings", "problem", error.message, (error.detail or "",), error.hint)
    return Check("Settings", "ok", f"models come from {url}", shown)


def _check_proxies() -> Check:
    """What stands between this machine and the network, by the environment or the system's own settings."""
    from urllib.request import getproxies

    proxies = {name: url for name, url in getproxies().items() if name in {"http", "https", "all", "no"} and url}
    shown = tuple(f"{name.upper()}_PROXY={_hide_password(url)}" for name, url in sorted(proxies.items()))
    try:
        used = network.find_proxy(endpoint.find_url())
    except LfError as error:
        return Check("Proxy", "problem", error.message, shown, error.hint)
    return Check("Proxy", "ok", f"{used.host} for models" if used else "none for models", shown)


def _hide_password(value: str) -> str:
    """`http://me:secret@proxy:3128` -> `http://***@proxy:3128`."""
    scheme, slashes, rest = value.rpartition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{slashes}***@{host}" if at else value


def _check_token() -> Check:
    """Whether there is a token for the hub; never the token itself, and the hub is not asked whose it is."""
    variable = tokens.find_variable()
    try:
        kept = tokens.find_kept()
    except LfError as error:
        return Check("Token", "problem", error.message, (error.detail or "",), error.hint)
    if variable:
        return Check("Token", "ok", f"found in {variable}", (f"it wins over {kept}",) if kept else ())
    if kept:
        return Check("Token", "ok", "kept by a login; `lf login --status` says whose it is", (str(kept),))
    return Check("Token", "note", "no token for the hub", (), "Only gated and private models need one: `lf login`")


def _check_store() -> Iterator[Check]:
    try:
        models, damaged = manifest.find_all(), manifest.find_damaged()
    except LfError as error:
        yield _judge_error("Store", error)
        return
    own = [model for model in models if model.shared is None]
    yield Check("Store", "ok", _count_models(own) if own else "no models yet", (str(paths.models_dir()),))
    for model in models:
        try:
            check_quick(model)
        except LfError as error:
            hint = f"Put the files back, pull or import it again, or forget it: `lf rm {model.name}`"
            hint = (error.hint or hint) if is_tool(model.keeper) else hint
            yield Check("Store", "problem", error.message, (error.detail or "",), hint)
    for one in damaged:
        check = _judge_error("Store", one)
        yield replace(check, state="note") if isinstance(one, manifest.NewerManifestError) else check
    if damage := revisions.find_damage():
        yield Check("Store", "problem", damage.message, (damage.detail or "",), damage.hint)
    if partials := _find_partials():
        size = format_bytes(sum(size_on_disk(path.stat()) for path in partials))
        hint = "Pull the same model again to go on; `lf store gc` forgets it"
        yield Check("Downloads", "note", f"{len(partials)} not finished, {size}", (), hint)


def _find_partials() -> tuple[Path, ...]:
    return tuple(paths.models_dir().glob("*/*/*/.partial/*.part"))


def _check_runtimes() -> Iterator[Check]:
    present = [runtime for runtime in engines.find_runtimes() if engines.is_testable(runtime)]
    if not present:
        yield Check("Runtimes", "note", "none yet; the first `lf run` installs what it needs")
    for runtime in present:
        yield _judge_test(engines.test(runtime))


def _judge_test(test: EngineTest) -> Check:
    name = test.runtime.name
    if test.error is not None:
        hint = test.error.hint or f"Install it again: `lf runtime remove {name}`, then `lf runtime install {name}`"
        return Check(name, "problem", test.error.message, tuple((test.error.detail or "").splitlines()), hint)
    rate = test.answer.timings.decode_tps if test.answer else None
    speed = f", {format_tps(rate)} tokens/s with the starter model" if rate is not None else ""
    evidence = (test.build,) if test.build else ()
    return Check(name, "ok", f"{test.runtime.engine} {test.engine_version} computes on {test.device}{speed}", evidence)


def _check_network() -> Iterator[Check]:
    """Every host that is ever asked for something: the hub, whence it sends for large files, and engines' indexes."""
    from localfirst.store.net.hub import find_file_address, reach, touch

    begun = time.monotonic()
    try:
        hub = endpoint.find_endpoint()
        reach(hub)
        yield Check("Hub", "ok", f"{hub.host} answered in {format_seconds(time.monotonic() - begun)}")
        known = find_public_file()
        address = find_file_address(hub, *known) if known else None
    except LfError as error:
        yield Check("Hub", "problem", error.message, (error.detail or "",), error.hint)
        address = None
    if address:
        yield _check_host("Files", address, "models come from there", touch)
    for address, runtimes in _find_indexes().items():
        yield _check_host("Engines", address, f"for {', '.join(runtimes)}", touch)


def _check_host(name: str, address: str, purpose: str, ask: Callable[[str], object]) -> Check:
    host, begun = urlsplit(address).hostname, time.monotonic()
    try:
        ask(address)
    except LfError as error:
        hint = "A firewall or a proxy may stand between; nothing can be fetched from there"
        return Check(name, "warning", f"{error.message}, {purpose}", (error.detail or "",), hint)
    return Check(name, "ok", f"{host} answered in {format_seconds(time.monotonic() - begun)}, {purpose}")


def find_public_file() -> tuple[str, str] | None:
    """Repository and path of a large file that anybody may fetch, by the catalog."""
    return next(
        (
            (variant.repo, file.path)
            for model in load_models()
            for variant in model.variants
            for file in variant.files
            if variant.host == "huggingface" and file.sha256 and not variant.gated
        ),
        None,
    )


def _find_indexes() -> dict[str, list[str]]:
    """Where engines for this machine come from: an address for each host, with the runtimes from there."""
    indexes: dict[str, list[str]] = {}
    hosts: dict[str | None, str] = {}
    for runtime in engines.find_runtimes():
        index = engines.find_index(runtime.name) if runtime.state not in {"offered", "unavailable"} else None
        if index:
            indexes.setdefault(hosts.setdefault(urlsplit(index).hostname, index), []).append(runtime.name)
    return indexes
