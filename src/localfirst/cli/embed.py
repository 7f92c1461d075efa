"""`lf embed`: texts to vectors."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from localfirst.cli import options
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.services.session import Session


def embed(
    model: options.ModelArgument,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT...]", help="Texts, a vector for each.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--input", "-i", metavar="FILE|-", help="A text on each line of it; - is what is piped in."),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            "--pooling",
            metavar="mean|cls|last",
            help="How to make one vector of a text; else as its files say.",
        ),
    ] = None,
    ctx: options.Context = None,
    device: options.Device = None,
    backend: options.Backend = None,
    quant: options.Quant = None,
    tier: options.Tier = None,
    threads: options.Threads = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each text, as is done wherever no terminal is.")
    ] = False,
    accept_license: options.AcceptLicense = False,
    no_install: options.NoInstall = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say which build runs where, and why.")] = False,
) -> None:
    """Turn texts into vectors.

    By an embedding model: texts that mean the same have vectors that lie near each other. All have the length 1, so
    that the sum of their products tells how near. Lines without a word are left out, and counted.
    """
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_progress
    from localfirst.services.planning import make_wanted
    from localfirst.services.preparing import Allowed
    from localfirst.services.prompt import read_lines
    from localfirst.services.session import open_session

    if text and file is not None:
        raise UsageError("Texts come from the command line or from `--input`, not from both")
    wanted = make_wanted(
        context_tokens=ctx,
        device=device,
        backend=backend,
        quantization=quant,
        tier=tier,
        task="embedding",
        pooling=pooling,
        threads=threads,
    )

    def start(accepted: bool) -> Session:
        with show_progress(quiet=quiet or json) as report:
            return open_session(
                model,
                wanted,
                allowed=Allowed(network=not offline, install=not no_install, accept_license=accepted),
                report=report,
                chosen=output.print_choice if verbose else None,
            )

    with ExitStack() as stack:
        numbered: Iterable[tuple[int, str]] = enumerate(text) if text else read_lines(*_open_input(file, stack))
        session = stack.enter_context(consent.ask(start, accepted=accept_license))
        if not quiet:
            output.print_short_context(session.plan, ctx)
        shown, embedded = tee(numbered)
        for (index, one), embedding in zip(shown, session.embed(line for _, line in embedded), strict=False):
            output.print_embedding(index, one, embedding, json=json)


def _open_input(file: Path | None, stack: ExitStack) -> tuple[BinaryIO, str]:
    """The stream to read lines from, and its name; opened before anything is fetched or loaded."""
    if file is None or str(file) == "-":
        if sys.stdin.isatty():
            raise UsageError("There is nothing to embed", hint='`lf embed MODEL "TEXT"`, or `--input FILE`')
        return sys.stdin.buffer, "the input"
    try:
        return stack.enter_context(file.open("rb")), f"`{file}`"
    except OSError as error:
        raise UsageError(f"`{file}` cannot be read", detail=error.strerror) from error
