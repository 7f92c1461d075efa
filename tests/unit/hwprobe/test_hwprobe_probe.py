"""The promise of the probe: a machine, always, soon; on this machine, on a broken one, on one of garbage."""

from __future__ import annotations

import copy
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localfirst.hwprobe.host import Completed, Host, ReplayHost
from localfirst.hwprobe.probe import probe
from localfirst.hwprobe.windows import VALUE_NAMES
from localfirst.paths import profiles_dir
from localfirst.types import Machine
from localfirst.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MACHINES = profiles_dir()
RECORDS = [json.loads(path.read_text("utf-8")) for path in sorted(MACHINES.glob("*.json"))]
TEXTS = sorted(
    {text for record in RECORDS for text in record.get("files", {}).values()}
    | {answer["stdout"] for record in RECORDS for answer in record.get("commands", {}).values()}
)
garbage = st.one_of(
    st.text(max_size=60),
    st.sampled_from(TEXTS),
    st.sampled_from(
        ["", "\0", "-1", "max", "9" * 5000, "0x", "1e9", "nan", "[N/A]", "\n\n:\n", "0-99999999999", "::::"]
    ),
    st.lists(st.sampled_from([",", ":", "0", "-", " ", "\n", "\t", "a", "[N/A]", "/", "memory", "٣"])).map("".join),
)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | garbage,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
registry_value = st.one_of(
    st.integers(), garbage, st.booleans(), st.binary(max_size=12).map(lambda data: {"hex": data.hex()})
)


def spoil(data: st.DataObject, texts: dict[str, Any], strategy: st.SearchStrategy[Any]) -> None:
    """Cut, replace or remove some of the values, in place."""
    for name in data.draw(st.sets(st.sampled_from(sorted(texts)), max_size=6)) if texts else ():
        old = texts[name]
        cut = st.integers(0, len(old)).map(lambda end, old=old: old[:end]) if isinstance(old, str) else strategy
        texts[name] = data.draw(cut | strategy)
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            del texts[name]


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(RECORDS))
def test_garbage_in_every_place_still_gives_a_machine(data: st.DataObject, record: dict[str, Any]) -> None:
    spoiled = copy.deepcopy(record)
    spoil(data, spoiled.get("files", {}), garbage)
    spoil(data, spoiled.get("links", {}), garbage)
    spoil(data, spoiled.get("sysctl", {}), garbage | st.integers())
    spoil(data, spoiled.get("values", {}), json_value)
    for answer in spoiled.get("commands", {}).values():
        spoil(data, answer, garbage)
        answer["rc"] = data.draw(st.sampled_from([0, 0, 0, 1, 9, None]))
    for subkeys in spoiled.get("registry", {}).values():
        for values in subkeys.values():
            spoil(data, values, registry_value)
    spoiled["machine"] = data.draw(st.sampled_from([record["machine"]]) | garbage)
    spoiled["platform"] = data.draw(st.sampled_from([record["platform"]] * 3 + ["linux", "darwin", "win32"]))
    check(probe(ReplayHost(spoiled)))


class Foreign(Host):
    """A machine that answers every question, also those that no record has an answer to, with whatever is drawn."""

    def __init__(self, data: st.DataObject, platform: str) -> None:
        super().__init__()
        self.platform = platform
        self._draw = data.draw

    def read(self, path: str) -> str | None:  # noqa: ARG002
        raw = self._draw(st.none() | st.binary(max_size=80) | garbage.map(lambda text: text.encode("utf-8", "replace")))
        return None if raw is None else raw.decode("utf-8", "replace")

    def glob(self, pattern: str) -> tuple[str, ...]:
        return tuple(pattern.replace("*", name) for name in self._draw(st.sets(st.sampled_from("019x"), max_size=3)))

    def exists(self, path: str) -> bool:  # noqa: ARG002
        return self._draw(st.booleans())

    def link(self, path: str) -> str | None:  # noqa: ARG002
        return self._draw(st.none() | garbage | st.sampled_from(["../amdgpu", "../xe", "../i915", "../intel_vpu"]))

    def run(self, argv: Sequence[str]) -> Completed | None:  # noqa: ARG002
        return self._draw(st.none() | st.builds(Completed, st.sampled_from([0, 0, 9, None]), garbage, garbage))

    def registry(self, class_guid: str) -> dict[str, dict[str, object]]:  # noqa: ARG002
        value = garbage | st.integers() | st.binary(max_size=12) | st.none() | st.lists(garbage, max_size=2)
        return self._draw(st.dictionaries(st.just("0000"), st.fixed_dictionaries({}, optional=registered(value))))

    def sysctl(self, name: str) -> str | None:  # noqa: ARG002
        return self._draw(st.none() | garbage | st.integers().map(str) | st.just("Apple M2"))

    def value(self, name: str) -> object | None:  # noqa: ARG002
        return self._draw(json_value)

    def disk_free_bytes(self, path: str) -> int | None:  # noqa: ARG002
        return self._draw(st.none() | st.integers(0, 2**64))


def registered(value: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """What is read of a registered device, mostly of the right kind."""
    ids = st.sampled_from(["PCI\\VEN_10DE&DEV_2684", "PCI\\VEN_1002&DEV_15BF", "PCI\\VEN_8086&DEV_56A0"])
    return dict.fromkeys(VALUE_NAMES, value) | {"DriverDesc": value | garbage, "MatchingDeviceId": value | ids}


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(["linux", "darwin", "win32"]))
def test_any_answer_to_any_question_gives_a_machine(data: st.DataObject, platform: str) -> None:
    check(probe(Foreign(data, platform)))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(RECORDS))
def test_a_machine_with_anything_missing_is_still_a_machine(data: st.DataObject, record: dict[str, Any]) -> None:
    thinned = {**record}
    for part in ("files", "links", "sysctl", "values", "commands", "registry"):
        kept: Mapping[str, Any] = record.get(part, {})
        gone = data.draw(st.sets(st.sampled_from(sorted(kept)))) if kept else set()
        thinned[part] = {name: value for name, value in kept.items() if name not in gone}
    machine = probe(ReplayHost(thinned))
    check(machine)
    assert machine.platform == record["platform"]


def check(machine: Machine) -> None:
    """What holds for every machine, however little is known of it."""
    assert isinstance(machine, Machine)
    assert [line for line in machine.warnings if "could not be read" in line] == []  # no exception was unforeseen
    assert all(line.isprintable() and len(line) < 400 for line in machine.warnings)
    assert machine.cpu.cores_usable is None or machine.cpu.cores_usable >= 1
    for size in (machine.memory.total_bytes, machine.memory.available_bytes, machine.memory.limit_bytes):
        assert size is None or size >= 0
    for device in machine.devices:
        assert device.name.isprintable()
        assert len(device.name) < 200
        assert device.memory_total_bytes is None or device.memory_total_bytes >= 0
        assert device.usable or device.reason


def test_an_empty_record_is_a_machine_of_which_nothing_is_known() -> None:
    for platform in ("linux", "darwin", "win32"):
        machine = probe(ReplayHost({"schema": "lf.machine-record/1", "platform": platform, "machine": "riscv64"}))
        known = (
            machine.cpu.name,
            machine.cpu.cores_usable,
            machine.memory.total_bytes,
            machine.devices,
            machine.warnings,
        )
        assert (machine.cpu.arch, *known) == ("riscv64", None, None, None, (), ())


def test_a_source_that_breaks_costs_only_its_own_facts() -> None:
    class Broken(ReplayHost):
        def read(self, path: str) -> str | None:
            if path == "/proc/meminfo":
                raise RuntimeError("unforeseen")
            return super().read(path)

    whole = RECORDS[0]
    machine, expected = probe(Broken(whole)), probe(ReplayHost(whole))
    assert machine.warnings == ("memory: could not be read (RuntimeError: unforeseen)",)
    assert (machine.cpu, machine.disk_free_bytes) == (expected.cpu, expected.disk_free_bytes)
    assert machine.memory.total_bytes is None


def test_this_machine_is_plausible() -> None:
    machine = probe()
    assert machine.platform == sys.platform
    assert machine.cpu.arch in {"x86_64", "arm64"}
    logical, physical, usable = machine.cpu.cores_logical, machine.cpu.cores_physical, machine.cpu.cores_usable
    assert logical is not None
    assert physical is not None
    assert usable is not None
    assert 1 <= usable <= physical <= logical
    total, available = machine.memory.total_bytes, machine.memory.available_bytes
    assert total is not None
    assert available is not None
    assert 256 * MIB < total < 100_000 * GIB
    assert 0 < available <= min(total, machine.memory.limit_bytes or total)
    assert machine.disk_free_bytes is not None
    assert [line for line in machine.warnings if "could not be read" in line] == []


class WithNvidiaNode(Host):
    """This machine with the sign of an NVIDIA card, so that the real `run` is taken."""

    def exists(self, path: str) -> bool:
        return path == "/dev/nvidia0" or super().exists(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_a_tool_that_hangs_does_not_hang_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nsleep 600\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    started = time.monotonic()
    machine = probe(WithNvidiaNode(timeout_s=0.3))
    assert time.monotonic() - started < 30
    assert "nvidia-smi did not answer in time" in machine.warnings


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_a_tool_that_answers_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA L4, 23034, 22000, 8.9, 550.54'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    devices = probe(WithNvidiaNode()).devices
    assert [(one.name, one.memory_total_bytes, one.usable) for one in devices if one.vendor == "nvidia"] == [
        ("NVIDIA L4", 23034 * MIB, True)
    ]
