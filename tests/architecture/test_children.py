"""What every process that is started must be given."""

from __future__ import annotations

import ast
from pathlib import Path

import localfirst
from localfirst import inheritance

ROOT = Path(localfirst.__file__).parent
STARTERS = ("Popen", "run", "call", "check_call", "check_output")
WAYS = ("inherit(", "make_environment(")


def find_starts(path: Path) -> list[ast.Call]:
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    return [call for call in calls if ast.unparse(call.func) in [f"subprocess.{name}" for name in STARTERS]]


def test_no_process_is_started_with_the_users_secrets() -> None:
    """But for those that a worker starts, which has none itself."""
    files = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "backends"]
    starts = [(path, call) for path in files for call in find_starts(path)]
    assert len(starts) >= 5
    for path, call in starts:
        given = next((ast.unparse(word.value) for word in call.keywords if word.arg == "env"), "")
        assert given.startswith(WAYS), f"{path}:{call.lineno} hands on every variable"


def test_a_secret_is_left_out_and_all_else_is_kept() -> None:
    current = dict.fromkeys((*inheritance.SECRETS, "PATH", "PYTHONPATH"), "value")
    assert inheritance.inherit(current) == {"PATH": "value", "PYTHONPATH": "value"}
    assert inheritance.inherit(current, leave=inheritance.STEERING) == {"PATH": "value"}
