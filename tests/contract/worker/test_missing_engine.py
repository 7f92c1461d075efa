"""The worker in an interpreter that has no engine: an error with its name, whichever engine it is, and no traceback."""

from __future__ import annotations

import os
import venv
from pathlib import Path

import pytest

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes.folder import PYTHON
from localfirst.runtimes.table import RUNTIMES
from localfirst.services.engines import find_runtime, find_starter
from localfirst.worker import protocol
from localfirst.worker.client import Worker


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    return str(folder / PYTHON)


@pytest.mark.parametrize("name", {row.backend: row.name for row in RUNTIMES if row.formats}.values())
def test_an_engine_that_cannot_be_imported_is_named(name: str, bare: str) -> None:
    runtime = find_runtime(name)
    load = protocol.Load(runtime.backend, str(find_starter(runtime)), None, 1, runtime.placement)
    with Worker(bare) as worker:
        for ask in (lambda: worker.look(runtime.backend), lambda: worker.load(load)):
            with pytest.raises(RuntimeMissingError) as caught:
                ask()
            error = caught.value
            assert error.message.startswith(f"{Path(bare)} cannot import ")
            assert "Traceback" not in f"{error.detail}"
            assert "`lf runtime list`" in f"{error.hint}"
