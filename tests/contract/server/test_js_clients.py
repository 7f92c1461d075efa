"""Clients in JavaScript, as they are published, against a real `lf serve` with real engines.

`js/*.test.mjs` are tests of Node's own runner, one file a client; each of theirs is one here, by its name. They are
installed from `js/package-lock.json` for this run, and fail where npm does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.conftest import Lf
from tests.fixtures.serving import AGENT, AGENT_CUES, REPLY, serving

JS = Path(__file__).parent / "js"
OLDEST_NODE = 20
SAID = {"greeter": REPLY, "agent": AGENT, "string": AGENT_CUES['"'].rstrip('"')}
NAME = re.compile(r'^test\("(.+?)",', re.MULTILINE)
TESTS = [
    (file.name.removesuffix(".test.mjs"), name)
    for file in sorted(JS.glob("*.test.mjs"))
    for name in NAME.findall(file.read_text(encoding="utf-8"))
]


class Ended(NamedTuple):
    """How one of their tests went."""

    passed: bool
    told: str | None
    """What it says of its failure."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tests with the clients beside them, whose own scripts have not been run."""
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    found = subprocess.check_output([shutil.which("node"), "--version"], text=True).strip()
    if int(found.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node is {found}; the clients want {OLDEST_NODE}")
    folder = tmp_path_factory.mktemp("js")
    shutil.copytree(JS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    argv = [shutil.which("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def ended(installed: Path, served_home: Lf) -> Iterator[Callable[[str], dict[str, Ended]]]:
    """How each test of a client went, all of which are run at once when the first is asked for."""
    with serving(served_home, "--ctx", "65536") as server:

        @cache
        def run(client: str) -> dict[str, Ended]:
            argv = [shutil.which("node"), "--test", "--test-reporter", "./reporter.mjs", f"{client}.test.mjs"]
            env = os.environ | {"LF_URL": server.url, "SAID": json.dumps(SAID)}
            done = subprocess.run(argv, cwd=installed, capture_output=True, encoding="utf-8", env=env, timeout=120)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            ends = {line["name"]: Ended(line["passed"], line.get("told")) for line in lines}
            assert {name for one, name in TESTS if one == client} <= ends.keys(), done.stderr
            return ends

        yield run


@pytest.mark.parametrize(("client", "name"), TESTS, ids=[f"{client}: {name}" for client, name in TESTS])
def test_a_client_in_javascript(ended: Callable[[str], dict[str, Ended]], client: str, name: str) -> None:
    how = ended(client)[name]
    assert how.passed, how.told
