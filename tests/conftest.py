"""What several suites share: a home of its own for each test, and `lf` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import settings
from tests.fixtures import forked
from tests.fixtures.result_table import ResultTable

# A busy machine fails no test. Where a change is judged, the drawn examples are the same each time: what they show is
# that change's; new ones are drawn by whoever works on it.
settings.register_profile("untimed", deadline=None, derandomize="LF_TEST_SAME_EXAMPLES" in os.environ)
settings.load_profile("untimed")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Many images set it. Each of thousands of processes would compile every module of lf anew."""
os.environ["MLX_DISABLE_COMPILE"] = "1"
"""Else the first use of MLX for the processor calls a C++ compiler, which takes seconds and changes no answer."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine-table", metavar="FILE", type=Path, help="write what the contract found on each engine")
    parser.addoption("--client-table", metavar="FILE", type=Path, help="write what each client of others did")


def pytest_configure(config: pytest.Config) -> None:
    for option, module in (("--engine-table", "backends.table"), ("--client-table", "server.clients_table")):
        if path := config.getoption(option):
            table = import_module(f"tests.contract.{module}")
            config.pluginmanager.register(ResultTable(path, table.find_place, table.render))


@cache
def _read_parsed_catalog() -> bytes:
    with TemporaryDirectory() as home:
        environment = os.environ | {"LF_HOME": home}
        subprocess.run([sys.executable, "-m", "localfirst", "list"], env=environment, capture_output=True, check=True)
        return (Path(home) / "cache" / "catalog.json").read_bytes()


@dataclass
class Lf:
    """Runs `lf` in a process of its own, as a user does: real exit code, real stdout, real stderr."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    lacks: ClassVar[tuple[str, ...]] = ()
    """Modules that its interpreter has not."""

    def __call__(self, *words: str, stdin: str | bytes = b"", timeout_s: float = 120) -> subprocess.CompletedProcess:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self._keep_parsed()
        if forked.can_fork(self.env(), data):
            code, out, err = forked.run(words, self.env(), data, timeout_s, self.lacks)
            return subprocess.CompletedProcess(self.command(*words), code, out.decode(), err.decode())
        done = subprocess.run(self.command(*words), input=data, capture_output=True, env=self.env(), timeout=timeout_s)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str) -> subprocess.Popen:
        """Start `lf` and leave it running."""
        self._keep_parsed()
        return subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env(),
        )

    def command(self, *words: str) -> list[str]:
        if self.lacks:
            begin = f"import sys; sys.modules |= dict.fromkeys({self.lacks}); from localfirst.cli import main; main()"
            return [sys.executable, "-c", begin, *words]
        return [sys.executable, "-m", "localfirst", *words]

    def _keep_parsed(self) -> None:
        """In a new home, the catalog as any command leaves it there: to parse it costs more than most of them."""
        path = self.home / "cache" / "catalog.json"
        with suppress(OSError):  # it is not new, or it cannot be or holds nothing, which some tests are about
            path.parent.mkdir(parents=True)
            try:
                path.write_bytes(_read_parsed_catalog())
            except OSError:
                path.unlink()

    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LF_", "HF_"))}
        return kept | {"LF_HOME": str(self.home), "COLUMNS": "80"} | self.environment


@pytest.fixture
def lf(tmp_path: Path) -> Lf:
    return Lf(tmp_path / "lf-home")


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where pip itself, as it is configured here, cannot fetch a small package."""
    wanted = ("--no-deps", "--no-cache-dir", "--dest", str(tmp_path_factory.mktemp("probe")), "markupsafe==3.0.4")
    argv = [sys.executable, "-m", "pip", "download", "--retries", "0", *wanted]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
