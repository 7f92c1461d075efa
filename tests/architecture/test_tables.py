"""Tables that name things without importing them name things that exist."""

from __future__ import annotations

import typer

from localfirst.backends.registry import BACKENDS, make_backend
from localfirst.cli import Root, app
from localfirst.cli.bench import BenchGroup
from localfirst.cli.bundle import BundleGroup
from localfirst.cli.groups import TableGroup
from localfirst.cli.model import ModelGroup
from localfirst.cli.runtime import RuntimeGroup
from localfirst.runtimes.programs import PROGRAMS
from localfirst.runtimes.table import RUNTIMES
from localfirst.services.engines import STARTER_FILES


def test_every_command_exists_and_its_line_in_the_help_is_the_first_of_its_own(subtests) -> None:
    for group in (Root, ModelGroup, RuntimeGroup, BundleGroup, BenchGroup):
        for name, row in group.table.items():
            with subtests.test(f"{group.__doc__} {name}"):
                command = group(name="group").commands[name]
                first = command.help.splitlines()[0]
                assert row.summary == first


def test_the_app_is_the_root_group() -> None:
    assert isinstance(typer.main.get_command(app), TableGroup)


def test_every_backend_of_a_runtime_is_registered_and_can_be_made() -> None:
    assert {row.backend for row in RUNTIMES} | {one.name for one in PROGRAMS} | {"remote"} == set(BACKENDS)
    for name in BACKENDS:
        assert hasattr(make_backend(name), "load")


def test_every_runtime_has_a_starter_to_prove_itself_with() -> None:
    assert {format_ for row in RUNTIMES for format_ in row.formats} <= set(STARTER_FILES)
