"""Service files, read by what reads them where that is here."""

from __future__ import annotations

import configparser
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from localfirst.server.units import UNITS, Place, make_unit

HOME = "/home/a user/lf & 100%"
PLACE = Place((sys.executable, "-m", "localfirst"), HOME, HOME, f"{HOME}/logs/server.log")
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


@pytest.mark.parametrize("kind", UNITS)
def test_a_file_says_where_it_goes_and_needs_nothing_that_is_not_set(kind: str) -> None:
    assert f"lf server unit {kind}" in make_unit(kind, PLACE)
    assert "None" not in make_unit(kind, PLACE._replace(moved=None))


def test_the_file_of_launchd_is_a_property_list() -> None:
    read = plistlib.loads(make_unit("launchd", PLACE).encode())
    assert read["ProgramArguments"] == [*PLACE.command, "serve", "--log", PLACE.log]
    assert read["EnvironmentVariables"] == {"LF_HOME": HOME}
    assert "EnvironmentVariables" not in plistlib.loads(make_unit("launchd", PLACE._replace(moved=None)).encode())


def test_the_file_of_the_task_scheduler_is_a_task() -> None:
    execute = ET.fromstring(make_unit("task", PLACE)).find(f"{TASK}Actions/{TASK}Exec")  # noqa: S314 - our own
    assert execute.find(f"{TASK}Command").text == sys.executable
    assert execute.find(f"{TASK}Arguments").text == f'-m localfirst serve --log "{PLACE.log}"'


@pytest.mark.parametrize("kind", ["systemd", "quadlet"])
def test_the_files_of_systemd_have_their_sections(kind: str) -> None:
    read = configparser.RawConfigParser(strict=True)
    read.optionxform = str
    read.read_string(make_unit(kind, PLACE))
    assert read["Install"]["WantedBy"] == "default.target"
    assert (read["Service"]["Restart"], read["Service"]["RestartPreventExitStatus"]) == ("on-failure", "2")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    unit = tmp_path / "lf-test.service"
    unit.write_text(make_unit("systemd", PLACE))
    done = subprocess.run([shutil.which("systemd-analyze"), "verify", "--man=no", unit], capture_output=True, text=True)
    assert "lf-test" not in done.stderr
