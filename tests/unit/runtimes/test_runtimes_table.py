from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from localfirst.backends.registry import BACKENDS
from localfirst.errors import UnknownNameError
from localfirst.paths import package_dir
from localfirst.runtimes.table import EVERYTHING, RUNTIMES, find_row, normalise_arch

PINS = package_dir() / "runtimes" / "pins"
PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = Path(__file__).parents[3] / "requirements" / "dev.txt"

each_row = pytest.mark.parametrize("row", RUNTIMES, ids=lambda row: row.name)
PINNED = [row for row in RUNTIMES if row.index_url is None]
pinned_row = pytest.mark.parametrize("row", PINNED, ids=lambda row: row.name)
PLAIN = [row for row in RUNTIMES if not (row.on_demand or row.needs or row.compiled)]
"""Those that are one package, which is in the development environment: ONNX Runtime GenAI for devices is more."""
plain_row = pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
each_lock = pytest.mark.parametrize("lock", [*sorted(PINS.glob("*.txt")), LOCK], ids=lambda path: path.name)


def read_pins(path):
    """`{name: {version, ...}}` of a requirements file."""
    pins = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    return pins


def test_names_are_unique():
    names = [row.name for row in RUNTIMES]
    assert sorted(set(names)) == sorted(names)


@each_row
def test_each_runtime_has_a_backend(row):
    assert row.backend in BACKENDS


@pinned_row
def test_each_runtime_of_the_package_index_is_pinned_at_its_version(row):
    assert read_pins(PINS / row.pins)[row.distribution] == {row.version}


@each_row
def test_each_runtime_has_the_template_engine(row):
    pins = read_pins(PINS / row.pins)
    assert len(pins["jinja2"]) == len(pins["markupsafe"]) == 1


@each_row
def test_an_index_of_its_own_is_asked_in_private_and_only_for_the_engine(row):
    if row.index_url is not None:
        assert row.index_url.startswith("https://")
        assert row.distribution not in read_pins(PINS / row.pins)


@plain_row
def test_the_extras_of_the_package_install_the_same_version(row):
    extras = {
        text.partition(";")[0]
        for name in ("onnx", "litert", "llama", "llama-py", "mlx", "openvino")
        for text in PROJECT["optional-dependencies"][name]
    }
    assert f"{row.distribution}=={row.version}" in extras


@pytest.mark.parametrize("row", [row for row in PINNED if not row.on_demand], ids=lambda row: row.name)
def test_sizes_are_known_and_unpacking_makes_things_larger(row):
    for size in row.sizes.values():
        most = 500_000_000 if row.variant_devices != ("cuda",) else 5_000_000_000  # CUDA's own libraries
        assert 5_000_000 < size.download_bytes < size.installed_bytes < most


def test_each_system_has_at_most_one_runtime_for_a_device_that_a_distribution_tells():
    taken = [(row.distribution, row.backend, row.placement, system) for row in PINNED for system in row.sizes]
    assert sorted(set(taken)) == sorted(taken)


@each_lock
def test_every_pin_has_a_digest(lock):
    pins = re.split(r"^(?=\S)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bare = [pin for pin in pins if pin.strip() and not pin.startswith("#") and "--hash=sha256:" not in pin]
    assert bare == []


@each_lock
def test_a_lock_names_neither_a_host_nor_a_path(lock):
    assert re.findall(r"https?:|file:|--index|--find-links|(?<!\w)/\S+", lock.read_text(encoding="utf-8")) == []


def test_the_development_lock_holds_the_runtimes_versions():
    pins = read_pins(LOCK)
    assert {row.distribution: pins[row.distribution] for row in PLAIN} == {
        row.distribution: {row.version} for row in PLAIN
    }


@each_row
def test_what_an_engine_needs_is_pinned_beside_it(row):
    pins = read_pins(PINS / row.pins)
    assert {re.split(r"[<>=[]", text)[0] for text in row.needs} <= pins.keys()


@each_row
def test_only_what_nothing_chooses_is_compiled(row):
    assert row.on_demand or not row.compiled


@pytest.mark.parametrize(
    ("arch", "expected"),
    [("AMD64", "x86_64"), ("x86_64", "x86_64"), ("aarch64", "arm64"), ("ARM64", "arm64"), ("riscv64", "riscv64")],
)
def test_architectures_have_one_name_each(arch, expected):
    assert normalise_arch(arch) == expected


def test_an_unknown_runtime_is_answered_with_the_known_ones():
    with pytest.raises(UnknownNameError) as caught:
        find_row("onnx-rocm")
    assert caught.value.message == "No runtime named `onnx-rocm`"
    assert caught.value.detail == f"known: {', '.join(row.name for row in EVERYTHING)}"
