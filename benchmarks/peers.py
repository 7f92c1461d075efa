"""lf beside its peers: the same file and questions, on one machine in one go, by turns.

    python -m benchmarks.peers [--model NAME|FILE]... [--format NAME]... [--peer NAME=PATH]... [-o table|md|json]

Run from the repository's root on a quiet machine. Every peer that is installed runs in a process of its own, which ends
with this one; the others are named with the reason. All are loaded, then asked in turns (A B B A), so that a machine
that grows warm or busy does so for all; no text is asked twice, so that no cache of prompts helps. Greedy, one request
at a time, the same threads and context; an answer's end is ignored where the peer can.

`x1.20` behind a figure: lf in the same engine is 1.20 times as good, by the median of the rounds' ratios; `~` where a
quarter of the rounds or more says the opposite, and it may be noise. A peer is looked for on the PATH or in this
interpreter; `--peer llama-cpp-python=/path/to/python`, or LF_PEER_LLAMA_CPP_PYTHON, says where else.
`--server NAME=URL[@MODEL]` measures one that runs already, with the file of `--model` in it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peer import figures, table
from benchmarks.peer.course import OURS, Course, Files
from benchmarks.peer.models import BUILT_IN, find_models
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.peer.figures import Group
    from benchmarks.peer.models import Model
    from benchmarks.peer.table import Peer

WIDTH = 120
"""Columns of a table that goes into a file."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print; 1 where nothing could be measured."""
    asked = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    progress = Console(stderr=True)
    groups: list[Group] = []
    try:
        models = find_models(asked.model or list(BUILT_IN)[:2], asked.prompt, asked.tokens)
        for group in measure(models, asked, progress):
            groups.append(group)
            if asked.output != "json":
                show(group, asked.output)
    except ValueError as error:
        progress.print(str(error), markup=False)
        return 2
    except KeyboardInterrupt:
        progress.print("stopped; all that was started is ended")
        return 130
    if asked.output == "json":
        sys.stdout.write(json.dumps(figures.to_json(groups), indent=1) + "\n")
    return int(not groups)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="lf beside its peers, by turns on the same file")
    known = ", ".join(BUILT_IN)
    parser.add_argument("--model", action="append", metavar="NAME|FILE", help=f"{known}, or a file; the first two")
    parser.add_argument("--format", action="append", choices=OURS, help="only this one; may be repeated")
    parser.add_argument("--only", action="append", metavar="NAME", help="only these peers; may be repeated")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", help="its program, or its Python")
    parser.add_argument(
        "--server", action="append", default=[], metavar="NAME=URL[@MODEL]", help="one that runs already"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all processors if not said")
    parser.add_argument("--prompt", type=int, metavar="N", help="tokens of the long question")
    parser.add_argument("--tokens", type=int, metavar="N", help="tokens of its answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", choices=("table", "md", "json"), default="table")
    asked = parser.parse_args(argv)
    if bad := next((one for one in (*asked.peer, *asked.server) if "=" not in one), None):
        parser.error(f"{bad}: it has to be NAME=...")
    names = {table.make_key(peer.name) for peer in table.PEERS}
    if bad := next((one for one in (*(asked.only or ()), *_split(asked.peer)) if one not in names), None):
        parser.error(f"{bad} is no peer; known: {', '.join(sorted(names))}")
    if asked.server and not asked.model:
        parser.error("--server needs --model: the file that it has loaded")
    return asked


def measure(models: Sequence[Model], asked: argparse.Namespace, progress: Console) -> Iterator[Group]:
    """A group for each model and format that a peer takes."""
    found = [(peer, table.find(peer, _split(asked.peer))) for peer in find_wanted(asked)]
    with tempfile.TemporaryDirectory(prefix="lf-peers-") as folder:
        for model in models:
            for file_format in asked.format or OURS:
                place = Path(folder, file_format)
                place.mkdir(exist_ok=True)
                path = model.make(file_format, place)
                if path is None:
                    progress.print(f"{model.name}, {file_format}: left out", markup=False)
                    continue
                progress.print(f"{model.name}, {file_format}: loading", markup=False)
                with ExitStack() as stack:
                    course = Course(stack, Files(file_format, path, asked.threads))
                    course.open_peers([one for one in found if one[0].format == file_format])
                    course.open_servers(_split(asked.server))
                    samples = course.take_turns(model, asked.rounds, lambda line: progress.print(line, markup=False))
                    yield course.finish(model, samples)


def find_wanted(asked: argparse.Namespace) -> list[Peer]:
    """The peers that are looked for."""
    return [peer for peer in table.PEERS if not asked.only or table.make_key(peer.name) in asked.only]


def show(group: Group, form: str) -> None:
    """Print a group."""
    if form == "md":
        sys.stdout.write(figures.to_markdown(group) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    shown = Table(title=figures.describe(group), title_justify="left", box=None)
    shown.add_column("", no_wrap=True)
    for name in figures.COLUMNS.values():
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("AGAINST", no_wrap=True)
    for row in figures.make_rows(group):
        shown.add_row(*row)
    console.print(shown)
    for note in figures.list_notes(group):
        console.print(f"  {note}", markup=False)
    console.print()


def _split(said: Sequence[str]) -> dict[str, str]:
    return dict(one.split("=", 1) for one in said)


if __name__ == "__main__":
    sys.exit(main())
