"""One server with all models for the tests of a module that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.engines import need_engine
from tests.fixtures.serving import Server, add_models, serving


@pytest.fixture(scope="session")
def served_home(tmp_path_factory: pytest.TempPathFactory) -> Lf:
    need_engine("xllamacpp")
    folder: Path = tmp_path_factory.mktemp("served")
    lf = Lf(folder / "home")
    add_models(lf, folder / "models")
    return lf


@pytest.fixture(scope="module")
def server(served_home: Lf) -> Iterator[Server]:
    with serving(served_home) as running:
        yield running
