from __future__ import annotations

import subprocess
import sys
from types import MappingProxyType

import pytest

from localfirst.runtimes.find import find_runtimes, this_system
from localfirst.runtimes.folder import PYTHON, Marker, folder_of, write_marker
from localfirst.runtimes.table import RUNTIMES, BuildSize, RuntimeRow
from localfirst.types import Runtime

ROW = RuntimeRow(
    name="tiny-cpu",
    backend="tiny",
    engine="Tiny",
    module="tinyengine",
    distribution="tiny-engine",
    version="1.2.0",
    formats=("gguf",),
    placement="cpu",
    variant_devices=("cpu",),
    sizes=MappingProxyType({this_system(): BuildSize(10, 30), ("plan9", "mips"): BuildSize()}),
    pins="tiny.txt",
)
BASE = Runtime(
    name="tiny-cpu",
    backend="tiny",
    engine="Tiny",
    version="1.2.0",
    formats=("gguf",),
    placement="cpu",
    variant_devices=("cpu",),
    state="installable",
    download_bytes=10,
    installed_bytes=30,
)
MARKER = Marker("tiny-cpu", "1.2.0", "Tiny", "3.12.1", "2026-11-24T00:00:00+00:00", 77)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LF_RUNTIME_TINY_CPU", raising=False)


def find(row=ROW, system=None):
    (runtime,) = find_runtimes(*(system or this_system()), (row,))
    return runtime


def make_package(folder, *, distribution="tiny_engine", version="1.2.0"):
    """A package as an installer leaves it, whose import would fail: it must not be imported to be found."""
    (folder / "tinyengine").mkdir(parents=True)
    (folder / "tinyengine" / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / f"{distribution}-{version}.dist-info").mkdir()


def make_environment(marker=MARKER):
    folder = folder_of(ROW)
    python = folder / PYTHON
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    if marker is not None:
        write_marker(folder, marker)
    return folder


def test_what_is_nowhere_is_installable_at_its_size():
    assert find() == BASE


def test_what_has_no_build_here_says_where_it_has_one():
    row = ROW._replace(sizes=MappingProxyType({("plan9", "mips"): BuildSize()}))
    platform, arch = this_system()
    reason = f"no build for {platform} {arch}; there is one for plan9 mips"
    assert find(row) == BASE._replace(state="unavailable", reason=reason, download_bytes=None, installed_bytes=None)


@pytest.mark.parametrize("version", ["1.2.0", "1.2.0+cu128", "1.2.1", "1.10", "2"])
def test_a_package_here_that_is_new_enough_is_importable_at_its_own_version(tmp_path, monkeypatch, version):
    make_package(tmp_path / "site", version=version)
    monkeypatch.syspath_prepend(tmp_path / "site")
    expected = BASE._replace(state="importable", version=version, python=sys.executable)
    assert find() == expected._replace(download_bytes=None, installed_bytes=None)


@pytest.mark.parametrize(
    "package",
    [{"version": "1.1.9"}, {"version": "1.2.0rc1"}, {"version": "0"}, {"distribution": "tiny_engine_cuda"}],
    ids=["older", "before its release", "much older", "another flavour of the engine"],
)
def test_a_package_that_is_older_or_of_another_flavour_is_not_used(tmp_path, monkeypatch, package):
    make_package(tmp_path / "site", **package)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find() == BASE


@pytest.mark.parametrize("version", ["1.2.0", "1.2.0+cu128", "1.2.1", "1.1.9"])
def test_where_an_adapter_needs_an_exact_version_no_other_is_used(tmp_path, monkeypatch, version):
    make_package(tmp_path / "site", version=version)
    monkeypatch.syspath_prepend(tmp_path / "site")
    exact = ROW._replace(exact=True)
    assert (find(exact).state == "importable") == (version == exact.version)


def test_an_importable_engine_without_a_build_for_this_system_is_not_this_runtime(tmp_path, monkeypatch):
    make_package(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find(ROW._replace(sizes=MappingProxyType({}))).state == "unavailable"


def test_a_finished_environment_is_installed_with_its_real_size():
    folder = make_environment()
    expected = BASE._replace(state="installed", python=str(folder / PYTHON), download_bytes=None, installed_bytes=77)
    assert find() == expected


@pytest.mark.parametrize(
    "marker",
    [None, MARKER._replace(version="1.1.0"), MARKER._replace(name="tiny-gpu")],
    ids=["none", "of another version", "of another runtime"],
)
def test_an_environment_without_its_marker_is_not_installed(marker):
    make_environment(marker)
    assert find() == BASE


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"name": "tiny-cpu"}', "\ufeff{}"])
def test_an_environment_with_a_damaged_marker_is_not_installed(text):
    folder = make_environment()
    (folder / "runtime.json").write_text(text, encoding="utf-8")
    assert find() == BASE


def test_an_environment_whose_interpreter_is_gone_is_not_installed(tmp_path):
    folder = make_environment()
    (folder / PYTHON).unlink()
    (folder / PYTHON).symlink_to(tmp_path / "an uninstalled python")
    assert find() == BASE


def test_the_variable_wins_and_keeps_the_link_that_makes_an_environment(tmp_path, monkeypatch):
    make_environment()
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    monkeypatch.setenv("LF_RUNTIME_TINY_CPU", str(link))
    expected = BASE._replace(state="external", version="unknown", python=str(link))
    assert find() == expected._replace(download_bytes=None, installed_bytes=None)


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_variable_that_names_no_interpreter_makes_its_runtime_misnamed_and_no_other(tmp_path, monkeypatch, kind):
    path = tmp_path / "python"
    if kind == "folder":
        path.mkdir()
    if kind == "not executable":
        path.write_text("text")
    monkeypatch.setenv("LF_RUNTIME_TINY_CPU", str(path))
    other = ROW._replace(name="tiny-gpu")
    found, neighbour = find_runtimes(*this_system(), (ROW, other))
    reason = f"`LF_RUNTIME_TINY_CPU` does not name a Python that can import {ROW.module}: {path}"
    assert (found.state, found.reason, found.python) == ("misnamed", reason, None)
    assert neighbour == BASE._replace(name="tiny-gpu")


def test_for_another_machine_nothing_of_this_one_counts(tmp_path, monkeypatch):
    make_environment()
    make_package(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("LF_RUNTIME_TINY_CPU", sys.executable)
    assert find(system=("plan9", "MIPS")) == BASE._replace(download_bytes=None, installed_bytes=None)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (("linux", "riscv64"), {}),
        (("darwin", "arm64"), {"llama-metal", "onnx-cpu", "onnx-webgpu", "mlx-metal", "litert-cpu"}),
        (("darwin", "x86_64"), {"llama-cpu"}),
        (("win32", "arm64"), {"onnx-cpu", "onnx-webgpu", "onnx-qnn"}),
        (
            ("win32", "AMD64"),
            {
                "llama-cpu",
                "llama-cuda",
                "llama-vulkan",
                "onnx-cpu",
                "onnx-cuda",
                "onnx-webgpu",
                "openvino-cpu",
                "openvino-gpu",
                "openvino-npu",
                "litert-cpu",
                "bitnet-cpu",
            },
        ),
        (("freebsd14", "amd64"), {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_each_system_has_the_runtimes_that_are_built_for_it(system, expected):
    assert {one.name for one in find_runtimes(*system) if one.state not in {"offered", "unavailable"}} == set(expected)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (("linux", "arm64"), {"llama-native", "bitnet-native"}),
        (("darwin", "arm64"), {"llama-py-metal"}),
        (("win32", "AMD64"), {"llama-py-cpu", "llama-py-cuda", "llama-py-vulkan"}),
        (("freebsd14", "amd64"), set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_installed_on_demand_is_offered_with_what_it_is(system, expected):
    offered = {one.name: one for one in find_runtimes(*system) if one.state == "offered"}
    assert set(offered) == expected
    assert all(one.reason for one in offered.values())


def test_every_runtime_is_answered_for_in_the_order_of_the_table():
    assert [runtime.name for runtime in find_runtimes("linux", "x86_64")] == [row.name for row in RUNTIMES]


def test_finding_runtimes_imports_no_engine_and_no_metadata_reader():
    code = (
        "import sys; from localfirst.runtimes.find import find_runtimes, this_system; find_runtimes(*this_system());"
        "print(sorted({'xllamacpp', 'onnxruntime_genai', 'numpy', 'jinja2', 'subprocess', 'importlib.metadata'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
