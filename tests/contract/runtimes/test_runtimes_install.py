"""Real installers, real wheels, real processes; the tests of the last part download an engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_engine

from localfirst.errors import DiskFullError, EngineError, LfError, RuntimeMissingError, StoreError, UnknownNameError
from localfirst.paths import package_dir
from localfirst.runtimes.find import find_runtimes, this_system
from localfirst.runtimes.folder import PYTHON, measure
from localfirst.runtimes.install import install, remove
from localfirst.runtimes.table import RUNTIMES, BuildSize, find_row
from localfirst.types import Runtime

REAL_UV = shutil.which("uv")

FAST_UV = f"""#!{sys.executable}
import subprocess, sys
words = sys.argv[1:]
after = words.index("--python") + 1
python = words[after]
if words[0] == "venv":
    raise SystemExit(subprocess.call([python, "-m", "venv", "--without-pip", words[-1]]))
pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-cache-dir"]
raise SystemExit(subprocess.call([*pip, *words[after + 1:]]))
"""
"""Does what uv does, by this interpreter's own pip: making an environment with a pip in it takes seconds."""


class Desk:
    """A data folder of its own, the tiny engine's row, and a search path with the `uv` that the test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtimes = folder / "home" / "runtimes"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.pins = folder / "pins.txt"
        self.row = tiny_engine.make_row(self.pins)
        self.checked: list[str] = []

    def write_pins(self, digest: str) -> None:
        self.pins.write_text(f"tiny-engine==1.2.0 --hash=sha256:{digest}\n", encoding="utf-8")

    def put_uv(self, text: str) -> None:
        (self.bin / "uv").write_text(text, encoding="utf-8")
        (self.bin / "uv").chmod(0o755)

    def install(self, **more: object) -> Runtime:
        return install("tiny-cpu", **{"check": self.checked.append, "rows": (self.row,), **more})

    def start(self, log: Path, *, hold: str = "no") -> subprocess.Popen[str]:
        """Another process that installs the same."""
        argv = [sys.executable, tiny_engine.__file__, str(self.pins), str(log), hold]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def find(self) -> Runtime:
        (runtime,) = find_runtimes(*this_system(), (self.row,))
        return runtime

    def list_runtimes(self) -> list[str]:
        """What there is beside the lock."""
        return sorted(path.name for path in self.runtimes.iterdir() if path.name != ".tiny-cpu.lock")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    desk = Desk(tmp_path)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    desk.write_pins(tiny_engine.make_wheel(wheels))
    desk.put_uv(FAST_UV)
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(desk.bin))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(wheels), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv(f"UV_{name}", value)
    monkeypatch.delenv("UV_CONFIG_FILE")
    return desk


def ask_engine(python):
    code = "import tinyengine; print(tinyengine.answer)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


@pytest.mark.parametrize(
    "uv",
    [
        pytest.param(REAL_UV, marks=pytest.mark.skipif(REAL_UV is None, reason="uv is not on the path"), id="uv"),
        pytest.param(None, id="pip"),
    ],
)
def test_a_runtime_is_made_checked_and_found_by_each_installer(desk, uv):
    (desk.bin / "uv").unlink()
    if uv is not None:
        (desk.bin / "uv").symlink_to(uv)
    told = []
    runtime = desk.install(report=lambda progress: told.extend(progress.detail.values()))
    folder = desk.runtimes / "tiny-cpu-1.2.0"
    marker = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
    assert desk.list_runtimes() == ["tiny-cpu-1.2.0"]
    assert (runtime.state, runtime.python) == ("installed", str(folder / PYTHON))
    assert runtime.installed_bytes == marker["size_bytes"] == measure(folder) - (folder / "runtime.json").stat().st_size
    assert desk.find() == runtime
    assert ask_engine(runtime.python) == "42\n"
    assert any("tiny" in line for line in told)
    (checked,) = desk.checked
    assert Path(checked).parts[-4] == Path(checked).relative_to(desk.runtimes).parts[0]
    assert Path(checked).relative_to(desk.runtimes).parts[0].startswith(".tiny-cpu-1.2.0.")


@pytest.fixture
def desk_with_index(desk, monkeypatch):
    """The engine is on an index of its own, and the pins hold what it needs."""
    index = desk.folder / "index" / "tiny-engine"
    index.mkdir(parents=True)
    tiny_engine.make_wheel(index)
    (index / "index.html").write_text(f'<a href="{tiny_engine.WHEEL}">{tiny_engine.WHEEL}</a>')
    (desk.folder / "wheels" / tiny_engine.WHEEL).unlink()
    digest = tiny_engine.make_helper_wheel(desk.folder / "wheels")
    desk.pins.write_text(f"tiny-helper==1.0 --hash=sha256:{digest}\n", encoding="utf-8")
    desk.row = desk.row._replace(index_url=index.parent.as_uri())
    for name in ("PIP_NO_INDEX", "UV_NO_INDEX"):
        monkeypatch.delenv(name)
    return desk


@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
def test_an_engine_of_another_index_is_fetched_from_there_and_the_rest_by_its_pins(desk_with_index, with_uv):
    if not with_uv:
        (desk_with_index.bin / "uv").unlink()
    runtime = desk_with_index.install()
    assert ask_engine(runtime.python) == "42\n"
    code = "import tinyhelper, tinyengine"
    assert subprocess.run([runtime.python, "-c", code]).returncode == 0
    assert desk_with_index.find() == runtime


def test_an_engine_of_another_index_is_never_taken_for_the_one_in_this_interpreter(desk_with_index, monkeypatch):
    here = desk_with_index.row._replace(module="pytest", distribution="pytest", version="1.0")
    assert find_runtimes(*this_system(), (here._replace(index_url=None),))[0].state == "importable"
    assert find_runtimes(*this_system(), (here,))[0].state == "installable"


def test_what_is_installed_is_not_made_again_even_offline(desk):
    first = desk.install()
    assert desk.install(offline=True) == first
    assert len(desk.checked) == 1


def test_a_runtime_survives_the_moving_of_the_data_folder(desk, monkeypatch):
    desk.install()
    (desk.folder / "home").rename(desk.folder / "moved")
    monkeypatch.setenv("LF_HOME", str(desk.folder / "moved"))
    runtime = desk.find()
    assert runtime.state == "installed"
    assert ask_engine(runtime.python) == "42\n"


def test_packages_elsewhere_on_the_users_python_path_do_not_count(desk, monkeypatch):
    elsewhere = desk.folder / "elsewhere"
    shutil.unpack_archive(desk.folder / "wheels" / tiny_engine.WHEEL, elsewhere, format="zip")
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    runtime = desk.install()
    monkeypatch.delenv("PYTHONPATH")
    assert ask_engine(runtime.python) == "42\n"


def test_an_interpreter_without_pip_makes_environments_too(desk, tmp_path, monkeypatch):
    (desk.bin / "uv").unlink()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setenv("PYTHONPATH", str(package_dir().parent))
    argv = [tmp_path / "bare" / PYTHON, tiny_engine.__file__, desk.pins, tmp_path / "log", "no"]
    subprocess.run(argv, check=True, stdout=subprocess.PIPE)
    assert ask_engine(desk.find().python) == "42\n"


def test_a_pip_that_is_set_to_install_for_the_user_fills_the_environment_nevertheless(desk, monkeypatch):
    (desk.bin / "uv").unlink()
    monkeypatch.setenv("PIP_USER", "1")
    assert ask_engine(desk.install().python) == "42\n"


def test_wrong_bytes_are_refused_in_the_installers_words_and_leave_nothing(desk):
    desk.write_pins("0" * 64)
    with pytest.raises(RuntimeMissingError) as caught:
        desk.install()
    told = "could not be installed: the package index serves other files than the pinned ones"
    assert caught.value.message == f"The runtime `tiny-cpu` (Tiny 1.2.0) {told}"
    *evidence, last = caught.value.detail.splitlines()
    assert [line.partition(": ")[0] for line in evidence] == ["uv", "pip"]
    assert caught.value.detail.count("THESE PACKAGES DO NOT MATCH THE HASHES") == 2
    assert caught.value.hint.endswith(", then type `lf runtime install tiny-cpu`")
    log = desk.runtimes / "tiny-cpu-1.2.0.log"
    assert last == f"All of it: {log}"
    assert log.read_text().count("THESE PACKAGES DO NOT MATCH THE HASHES") == 2
    assert (desk.checked, desk.list_runtimes()) == ([], [log.name])
    desk.write_pins(tiny_engine.make_wheel(desk.folder / "wheels"))
    desk.install()
    assert not log.exists()  # of what ended well nothing is of use


@pytest.mark.parametrize(
    ("settings", "told", "hint", "code"),
    [
        (
            {"PIP_FIND_LINKS": os.devnull},
            "the package index has no build for this Python and system",
            "Try another Python, ",
            8,
        ),
        (
            {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"},
            "the package index cannot be reached",
            "Check the network, ",
            6,
        ),
    ],
    ids=["no such build", "no network"],
)
def test_the_code_and_the_hint_follow_the_cause(desk, monkeypatch, settings, told, hint, code):
    (desk.bin / "uv").unlink()
    shutil.rmtree(desk.folder / "wheels")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LfError) as caught:
        desk.install()
    assert caught.value.message == f"The runtime `tiny-cpu` (Tiny 1.2.0) could not be installed: {told}"
    assert caught.value.exit_code == code
    assert len(caught.value.detail.splitlines()) <= 4
    assert caught.value.hint.startswith(hint)
    assert caught.value.hint.endswith(", then type `lf runtime install tiny-cpu`")
    assert desk.list_runtimes() == ["tiny-cpu-1.2.0.log"]


def test_pip_has_the_last_word_when_uv_fails(desk):
    desk.put_uv("#!/bin/sh\necho 'no index is configured'\nexit 2\n")
    told = []
    runtime = desk.install(report=lambda progress: told.extend(progress.detail.values()))
    assert told[0] == "no index is configured"
    assert ask_engine(runtime.python) == "42\n"


def test_offline_nothing_is_tried(desk):
    with pytest.raises(RuntimeMissingError) as caught:
        desk.install(offline=True)
    assert caught.value.exit_code == 8
    assert caught.value.message == "The runtime `tiny-cpu` is not installed, and the network is switched off"
    assert not desk.runtimes.exists()


def test_too_small_a_disk_is_told_before_anything_is_tried(desk):
    desk.row = tiny_engine.make_row(desk.pins, size=BuildSize(10**17, 2 * 10**17))
    desk.put_uv("#!/bin/sh\ntouch tried\nexit 1\n")
    with pytest.raises(DiskFullError) as caught:
        desk.install()
    assert caught.value.detail.startswith("it needs 300000 TB; ")
    assert desk.list_runtimes() == []


def test_a_build_of_unknown_size_is_installed(desk):
    desk.row = tiny_engine.make_row(desk.pins, size=BuildSize())
    assert desk.install().state == "installed"


def test_a_disk_that_fills_up_is_told_as_such_and_not_tried_again(desk):
    message = "error: failed to write: No space left on device (os error 28)"
    desk.put_uv(f"#!/bin/sh\necho '{message}'\nexit 1\n")
    told = []
    with pytest.raises(DiskFullError) as caught:
        desk.install(report=lambda progress: told.extend(progress.detail.values()))
    assert caught.value.message == "The runtime `tiny-cpu` (Tiny 1.2.0) could not be installed: the disk is full"
    assert (caught.value.detail, told) == (f"uv: {message}", [message])
    assert desk.list_runtimes() == []


def test_an_engine_that_fails_its_check_is_not_installed(desk):
    def check(python):
        raise EngineError("wrong answer", detail="41", hint="Update the driver")

    with pytest.raises(RuntimeMissingError) as caught:
        desk.install(check=check)
    assert caught.value.message == "The runtime `tiny-cpu` (Tiny 1.2.0) was downloaded and does not work here"
    assert (caught.value.detail, caught.value.hint) == ("wrong answer\n41", "Update the driver")
    assert desk.list_runtimes() == []


def test_ctrl_c_leaves_nothing(desk):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.install(report=interrupt)
    assert desk.list_runtimes() == []


def test_an_unknown_runtime_is_an_unknown_name(desk):
    with pytest.raises(UnknownNameError):
        install("tiny", check=print, rows=(desk.row,))


def test_a_runtime_that_has_no_build_here_is_refused_with_where_it_has_one(desk):
    row = next(row for row in RUNTIMES if this_system() not in row.sizes)
    with pytest.raises(RuntimeMissingError) as caught:
        install(row.name, check=print)
    assert caught.value.message == f"The runtime `{row.name}` does not exist for this machine"
    assert caught.value.detail.startswith(f"no build for {' '.join(this_system())}; there is one for ")


def test_a_damaged_environment_is_replaced(desk):
    desk.install()
    (desk.runtimes / "tiny-cpu-1.2.0" / "runtime.json").write_text("{", encoding="utf-8")
    (desk.runtimes / "tiny-cpu-1.2.0" / "rest").touch()
    runtime = desk.install()
    assert ask_engine(runtime.python) == "42\n"
    assert desk.list_runtimes() == ["tiny-cpu-1.2.0"]
    assert not (desk.runtimes / "tiny-cpu-1.2.0" / "rest").exists()


def test_installations_at_the_same_time_make_one_environment(desk, tmp_path):
    log = tmp_path / "log"
    processes = [desk.start(log) for _ in range(3)]
    said = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert said == {f"installed {desk.runtimes / 'tiny-cpu-1.2.0' / PYTHON}\n"}
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1
    assert desk.list_runtimes() == ["tiny-cpu-1.2.0"]


def test_an_installation_killed_in_its_check_is_swept_by_the_next(desk, tmp_path):
    with desk.start(tmp_path / "log", hold="yes") as process:
        wait_for(tmp_path / "log")
        process.kill()
    (left,) = desk.list_runtimes()
    assert left.startswith(".tiny-cpu-1.2.0.")
    assert desk.find().state == "installable"
    desk.install()
    assert desk.list_runtimes() == ["tiny-cpu-1.2.0"]


@pytest.mark.skipif(
    sys.platform == "win32", reason="an installer that outlives its parent does not hold its lock there"
)
def test_the_installer_of_a_killed_process_is_waited_for(desk, tmp_path):
    desk.put_uv(f"#!/bin/sh\n: > {tmp_path}/started\nexec {shutil.which('sleep', path='/bin:/usr/bin')} 1.5\n")
    with desk.start(tmp_path / "log") as process:
        wait_for(tmp_path / "started")
        process.kill()
    desk.put_uv(FAST_UV)
    told = []
    desk.install(report=lambda progress: told.extend(progress.detail.values()))
    assert told[0] == f"waiting for process {process.pid}, which installs it"
    assert desk.list_runtimes() == ["tiny-cpu-1.2.0"]


def test_removing_frees_what_the_environments_of_all_versions_held(desk):
    desk.install()
    old = desk.runtimes / "tiny-cpu-1.1.0"
    old.mkdir()
    (old / "engine.so").write_bytes(bytes(1000))
    held_bytes = measure(desk.runtimes / "tiny-cpu-1.2.0") + 1000
    assert remove("tiny-cpu", (desk.row,)) == held_bytes
    assert desk.list_runtimes() == []
    assert desk.find().state == "installable"


def test_what_is_not_installed_cannot_be_removed(desk):
    with pytest.raises(RuntimeMissingError) as caught:
        remove("tiny-cpu", (desk.row,))
    assert caught.value.message == f"The runtime `tiny-cpu` is not installed in `{desk.runtimes}`"


def test_a_data_folder_that_cannot_be_written_is_told(desk):
    desk.runtimes.parent.mkdir()
    desk.runtimes.write_text("a file in the way")
    with pytest.raises(StoreError) as caught:
        desk.install()
    assert caught.value.message == f"The folder of the runtimes cannot be written: {desk.runtimes}"


@pytest.mark.parametrize("name", ["llama-cpu", pytest.param("onnx-cpu", marks=pytest.mark.live)])
@pytest.mark.usefixtures("package_index")
def test_a_real_engine_is_installed_from_its_pins_and_removed(name, tmp_path, monkeypatch):
    row = find_row(name)
    if this_system() not in row.sizes:
        pytest.skip(f"{name} has no build for {' '.join(this_system())}")
    monkeypatch.setenv("LF_HOME", str(tmp_path))

    def check(python):
        code = (
            f"import jinja2, {row.module}; from importlib.metadata import version; print(version('{row.distribution}'))"
        )
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout == f"{row.version}\n"

    runtime = install(name, check=check)
    check(runtime.python)
    size = row.sizes[this_system()]
    assert size.installed_bytes * 0.95 < runtime.installed_bytes < size.installed_bytes + 60_000_000
    assert remove(name) >= runtime.installed_bytes
    assert [path.name for path in (tmp_path / "runtimes").iterdir()] == [f".{name}.lock"]
