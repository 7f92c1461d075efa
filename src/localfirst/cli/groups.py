"""Groups of commands that know their commands by a table, and import one only to run it.

Building all commands took as long as two empty Pythons; `lf --help` needs one line of each. As pip's own table of
commands (`pip/_internal/commands/__init__.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup

from localfirst.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


_MEANT = {
    "chat": ("run",),
    "ask": ("run",),
    "generate": ("run",),
    "download": ("pull",),
    "fetch": ("pull",),
    "get": ("pull",),
    "ls": ("list",),
    "search": ("list TEXT",),
    "find": ("list TEXT",),
    "show": ("info",),
    "delete": ("rm", "remove"),
    "remove": ("rm",),
    "uninstall": ("rm", "remove"),
}
"""What other tools call a command of ours, which no likeness of letters finds: the first that a group has is meant."""
_NEAR_COMMAND = "localfirst.near_command"


class Row(NamedTuple):
    """A command: where it is (`module:name`, a function or a `Typer`), and the first sentence of its help."""

    target: str
    summary: str


class Commands(MutableMapping[str, Any]):
    """The commands of a table by name, each made when it is asked for."""

    def __init__(self, table: Mapping[str, Row]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self._table[name].target.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            function, found = found, make_app()
            found.command(name)(function)
        return typer.main.get_command(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __setitem__(self, name: str, command: object) -> None:
        raise TypeError("commands are rows of a table")

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are rows of a table")


class TableGroup(TyperGroup):
    """A group of the commands in its `table`."""

    table: ClassVar[Mapping[str, Row]]
    default: ClassVar[str | None] = None
    """The command whose help is the group's; it is not listed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands(self.table)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command; an unknown one is answered with what was probably meant.

        Raises:
            UsageError: there is no such command.
        """
        import difflib

        word, path = args[0], ctx.command_path
        if word in self.table or word.startswith("-"):
            return super().resolve_command(ctx, args)
        options = (option for parameter in self.get_params(ctx) for option in parameter.opts)
        known = {name: f"{path} {name}" for name in (*options, *self.table)}
        for name in self.table:
            known |= {below: f"{path} {name} {below}" for below in getattr(self.commands[name], "commands", ())} | known
        near = [f"{path} {meant}" for meant in _MEANT.get(word, ()) if meant.partition(" ")[0] in self.table]
        near = near or [known[likely] for likely in difflib.get_close_matches(word, known, n=1)]
        hint = f"Did you mean `{near[0]}`?" if near else f"See what there is: `{path} --help`"
        raise UsageError(f"`{path}` has no command `{word}`", hint=hint)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002 - Typer's method, with private types
        """Write a line for each command, importing none."""
        rows = [(name, row.summary) for name, row in self.table.items() if name != self.default]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class DefaultGroup(TableGroup):
    """A group with a command that is meant where none is named: what stands there is its first word.

    The group's help is that command's, with the others below it.
    """

    default: ClassVar[str]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command before words that name none of the others."""
        import difflib

        if not args or args[0] not in {*self.table, "--help", "-h"}:
            if near := difflib.get_close_matches(args[0], self.table, n=1, cutoff=0.75) if args else []:
                ctx.meta[_NEAR_COMMAND] = (args[0], f"{ctx.command_path} {near[0]}")
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; where the default one knows nothing of its first word's name, a near command was meant.

        Raises:
            UnknownNameError: as the command raised it, with that hint.
        """
        try:
            return super().invoke(ctx)
        except UnknownNameError as error:
            word, command = ctx.meta.get(_NEAR_COMMAND, (None, None))
            if f"`{word}`" in error.message:
                error.hint = f"Did you mean `{command}`?"
            raise

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # Typer's, with private types
        """The default command's."""
        pieces: list[str] = self.commands[self.default].collect_usage_pieces(ctx)
        return pieces

    def format_help_text(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # as above
        """The default command's."""
        self.commands[self.default].format_help_text(ctx, formatter)

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # as above
        """The default command's, then the other commands."""
        self.commands[self.default].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def make_app(**settings: Any) -> typer.Typer:
    """A Typer as all of ours are: plain help (Rich's takes twice as long to show) and plain tracebacks."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
        **({"add_completion": False} | settings),
    )
