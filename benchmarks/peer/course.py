"""One model in one format: lf and its peers are loaded beside each other, and asked by turns."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.peer import figures, table, talk
from benchmarks.peer.models import CONTEXT_TOKENS
from tests.contract.backends import llama_bindings

from localfirst.backends.external import http
from localfirst.bench.texts import draw_words
from localfirst.errors import LfError, UsageError
from localfirst.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack

    from benchmarks.peer.models import Model

OURS = {"gguf": ("xllamacpp", "llama-cpp-python"), "onnx": ("onnx",), "mlx": ("mlx",), "litert": ("litert",)}
"""Formats that a peer takes, and lf's engines for them."""
SHORT_TOKENS = 16
SETTLE_S = 0.3
"""Before each turn: threads of the engine that answered last may still spin for a while."""
CLEAN = ("LLAMA_", "OLLAMA_", "LF_")
"""Beginnings of variables that no peer is to see: they would change what it does."""


class Files(NamedTuple):
    """What is loaded, and how."""

    format: str
    path: Path
    threads: int


class Opened(NamedTuple):
    """A contender that is loaded."""

    asked: talk.Asked
    version: str
    against: str | None


class Course:
    """Whoever is loaded is gone with the stack."""

    def __init__(self, stack: ExitStack, files: Files) -> None:
        """Load lf in each of its engines for the format.

        Raises:
            ValueError: none of them loads it.
        """
        self._stack, self._files = stack, files
        self._opened: dict[str, Opened] = {}
        self._missing: list[tuple[str, str]] = []
        loaded = [one for engine in OURS[files.format] if (one := self._open_ours(engine))]
        if not loaded:
            raise ValueError("\n".join(f"{name}: {why}" for name, why in self._missing))
        self._ours = loaded[0]

    def open_peers(self, found: Sequence[tuple[table.Peer, table.Found]]) -> None:
        """Start those that are here."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)}
        values = {"model": str(self._files.path), "threads": self._files.threads, "context": CONTEXT_TOKENS}
        for peer, (here, told) in found:
            if here is None:
                self._missing.append((peer.name, told))
                continue
            try:
                one = talk.open_peer(self._stack, peer, {**values, "here": here}, inherited)
            except LfError as error:
                self._fail(peer.name, error)
            else:
                self._opened[peer.name] = Opened(one, told, self._find_against(peer.engine))

    def open_servers(self, said: Mapping[str, str]) -> None:
        """Take servers that run already: their names, and `URL[@MODEL]`.

        Raises:
            ValueError: an address is none.
        """
        for name, text in said.items():
            url, _, model = text.partition("@")
            try:
                address = http.parse_address(url)
            except UsageError as error:
                raise ValueError(error.message) from error
            peer = table.Peer(name, self._files.format, "", "server", (), model=model or "peers", body=table.ENDLESS)
            self._opened[name] = Opened(talk.Server(address, peer), "", self._find_against(peer.engine))

    def take_turns(self, model: Model, rounds: int, say: Callable[[str], None]) -> dict[str, list[figures.Sample]]:
        """The samples of all; whoever fails is asked no more.

        The first round warms up and does not count. Every other one goes backwards: nobody always comes after the same.
        """
        samples: dict[str, list[figures.Sample]] = {name: [] for name in self._opened}
        added = self._ours.count_added()
        for number in range(rounds + 1):
            say(f"  round {number} of {rounds}" if number else "  warming up")
            question = self._make_question(model, added, number)
            for name in list(samples)[:: 1 if number % 2 else -1]:
                time.sleep(SETTLE_S)
                try:
                    sample = self._opened[name].asked.take(question)
                except LfError as error:
                    self._fail(name, error)
                    del samples[name]
                else:
                    samples[name] += [sample] if number else []
        return samples

    def finish(self, model: Model, samples: Mapping[str, list[figures.Sample]]) -> figures.Group:
        """All that was measured."""
        contenders = tuple(
            figures.Contender(name, one.version, one.against, tuple(samples[name]), one.asked.note)
            for name, one in self._opened.items()
            if name in samples
        )
        return figures.Group(
            model.name, self._files.format, model.prompt_tokens, model.tokens, contenders, tuple(self._missing)
        )

    def _open_ours(self, engine: str) -> talk.Through | None:
        name = f"lf, {engine}"
        python = llama_bindings.find_interpreter() if engine == "llama-cpp-python" else sys.executable
        if python is None:
            self._missing.append((name, f"not run here: {llama_bindings.MISSING}"))
            return None
        load = protocol.Load(engine, str(self._files.path), CONTEXT_TOKENS, self._files.threads, "cpu")
        try:
            one = talk.Through(self._stack, python, load)
        except LfError as error:
            self._fail(name, error)
            return None
        self._opened[name] = Opened(one, one.info.engine_version, None)
        return one

    def _find_against(self, engine: str) -> str:
        """Whom of lf a peer is held against: the same engine, where lf runs it here."""
        return f"lf, {engine}" if f"lf, {engine}" in self._opened else next(iter(self._opened))

    def _fail(self, name: str, error: LfError) -> None:
        lines = (error.detail or "").strip().splitlines()
        self._missing.append((name, f"not run here: {error.message}" + (f" ({lines[-1]})" if lines else "")))

    def _make_question(self, model: Model, added: int, number: int) -> talk.Question:
        short, long, third = (
            self._draw(tokens - added, f"{kind}{number}")
            for kind, tokens in (("short", SHORT_TOKENS), ("long", model.prompt_tokens), ("third", SHORT_TOKENS))
        )
        return talk.Question(short, long, third, model.prompt_tokens, model.tokens)

    def _draw(self, tokens: int, seed: str) -> str:
        """New words of about so many tokens."""
        words = draw_words(max(1, tokens), seed)
        return words[: max(1, round(len(words) * tokens / len(self._ours.tokenize(words))))].strip()
