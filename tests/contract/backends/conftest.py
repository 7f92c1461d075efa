"""Real models, made once for the whole suite; each is loaded where a test needs it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.contract.backends.engines import BINDINGS, BITNET, ENGINES, PUSHED, Engine
from tests.contract.backends.llama_bindings import MISSING, find_bindings
from tests.fixtures import scripted
from tests.fixtures.engines import need_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from localfirst.backends.base import LoadedModel

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
"""Read when the engine is first imported; the worker sets it for the same reason."""

TEXT = "Hello there! The tiny model answers Grüße 😀 and stops."


SKIP = pytest.mark.skipif(not find_bindings(), reason=MISSING)


@pytest.fixture(
    scope="session",
    params=[*ENGINES, PUSHED, *(pytest.param(one, marks=SKIP) for one in (BINDINGS, BITNET))],
    ids=lambda one: f"{one.backend}-pushed" if one.pushes else one.backend,
)
def engine(request: pytest.FixtureRequest) -> Engine:
    need_engine(request.param.backend)
    return request.param


@pytest.fixture(scope="session")
def folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(engine.backend)


@pytest.fixture(scope="session")
def scripted_path(engine: Engine, folder: Path) -> Path:
    engine.make(folder / "scripted" / engine.file_name, TEXT)
    return folder / "scripted" / engine.file_name


@pytest.fixture(scope="session")
def random_path(engine: Engine, folder: Path) -> Path:
    engine.make_random(folder / "random" / engine.file_name, scripted.Shape(layers=2))
    return folder / "random" / engine.file_name


@pytest.fixture
def opened(engine: Engine) -> Callable[..., AbstractContextManager[LoadedModel]]:
    @contextmanager
    def load(path: Path, context_tokens: int | None = None) -> Iterator[LoadedModel]:
        model = engine.load(path, context_tokens)
        try:
            yield model
        finally:
            model.close()

    return load


@pytest.fixture(scope="session")
def model(engine: Engine, scripted_path: Path) -> Iterator[LoadedModel]:
    """The scripted model, loaded once."""
    loaded = engine.load(scripted_path)
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def noise(engine: Engine, random_path: Path) -> Iterator[LoadedModel]:
    """The random model, loaded once."""
    loaded = engine.load(random_path)
    yield loaded
    loaded.close()
