"""Finds a build of llama-cpp-python for the tests: it is compiled on each machine, so none is a requirement."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

VARIABLES = ("LF_RUNTIME_LLAMA_NATIVE", "LF_RUNTIME_LLAMA_PY_CPU")
MISSING = f"no llama_cpp here; name an interpreter that has it in {' or '.join(VARIABLES)}"
FIND = "import llama_cpp, os; print(os.path.dirname(os.path.dirname(llama_cpp.__file__)))"


@cache
def find_interpreter() -> str | None:
    """An interpreter that has `llama_cpp`: one that a variable names, or this one; `None` where there is none."""
    named = next(filter(None, map(os.environ.get, VARIABLES)), None)
    return named or (sys.executable if find_spec("llama_cpp") else None)


@cache
def find_bindings() -> bool:
    """Whether `llama_cpp` can be imported from here on, perhaps from another interpreter's folder.

    The bindings are plain Python over C, so those serve as well; the folder comes last on the path, and nothing but
    what is missing here is taken from it.
    """
    python = find_interpreter()
    if python not in {None, sys.executable}:
        done = subprocess.run([python, "-c", FIND], capture_output=True, text=True, check=True)
        sys.path.append(done.stdout.strip())
    return python is not None
