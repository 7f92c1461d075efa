"""What a command must not load: start-up is a feature."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.conftest import Lf

ENGINES = ("xllamacpp", "onnxruntime", "onnxruntime_genai", "litert_lm", "mlx", "numpy")
HEAVY = (
    *ENGINES,
    "huggingface_hub",
    "httpx2",
    "rich",
    "psutil",
    "prompt_toolkit",
    "yaml",
    "jinja2",
    "pydantic",
    "starlette",
    "uvicorn",
)


def find_imports(lf: Lf, *words: str) -> set[str]:
    """Top-level packages that a command imports, and every module of ours."""
    command = [sys.executable, "-X", "importtime", "-m", "localfirst", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=lf.env())
    assert done.returncode == 0, done.stderr[-2000:]
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return {name if name.startswith("localfirst") else name.partition(".")[0] for name in modules}


def test_help_loads_typer_and_nothing_of_ours_that_works(lf: Lf) -> None:
    ours = {name for name in find_imports(lf, "--help") if name.startswith("localfirst")}
    assert ours == {
        "localfirst",
        "localfirst.__main__",
        "localfirst.cli",
        "localfirst.cli.groups",
        "localfirst.cli.streams",
        "localfirst.errors",
    } - {"localfirst.__main__"}  # run as a script, so not imported


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["completion", "bash"], ["run", "--help"], ["serve", "--help"], ["hw"]]
)
def test_light_commands_load_nothing_heavy(lf: Lf, words: list[str]) -> None:
    assert not find_imports(lf, *words) & set(HEAVY)


def test_a_list_from_a_warm_cache_loads_nothing_heavy(lf: Lf) -> None:
    assert lf("list").returncode == 0  # fills the cache
    assert not find_imports(lf, "list", "--fits") & {*HEAVY, "statistics", "tempfile", "localfirst.conversation"}


def test_completion_loads_nothing_heavy(lf: Lf) -> None:
    assert lf("list").returncode == 0
    lf.environment |= {"_LF_COMPLETE": "complete_bash", "COMP_WORDS": "lf run phi", "COMP_CWORD": "2"}
    assert not find_imports(lf) & set(HEAVY)


def test_the_package_itself_loads_nothing_of_ours() -> None:
    code = "import localfirst, sys; print([name for name in sys.modules if name.startswith('localfirst')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "['localfirst']\n"
