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


@pytest.fixture
def home(served_home: Lf, tmp_path: Path) -> Lf:
    """The same models, found by servers and commands of this test alone."""
    own = Lf(tmp_path / "home", dict(served_home.environment))
    own.home.mkdir()
    for name in ("models", "catalogs"):
        if (served_home.home / name).exists():
            (own.home / name).symlink_to(served_home.home / name)
    return own
