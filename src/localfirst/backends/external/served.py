"""Starts a server program with a model, asks it, and ends it with the worker.

A program listens on this machine only, on a port and with a key made up for it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.backends import limits
from localfirst.backends.base import Chunk, LoadedInfo, Started
from localfirst.backends.external import files, http, table
from localfirst.backends.external.answer import follow
from localfirst.backends.external.embeddings import embed
from localfirst.backends.external.process import ServerProcess
from localfirst.backends.llama_cpp import likely
from localfirst.backends.text import begin_with
from localfirst.conversation import Embedding
from localfirst.errors import EngineError, LfError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions

ATTEMPTS = 3
"""How often a program is started whose port somebody else took before it could."""
DEATH_S = 2.0
"""How long the end of a program may come after that of its connections."""


class PortTakenError(EngineError):
    """A server program found that somebody else listens on its port."""


class Launcher:
    """Starts a server program, again where it died."""

    def __init__(
        self, server: table.Server, program: tuple[str, ...], opened: str, context_tokens: int, options: LoadOptions
    ) -> None:
        self.server = server
        self._program, self._opened, self._context_tokens, self._options = program, opened, context_tokens, options

    def launch(self) -> tuple[ServerProcess, http.Address, Path]:
        """Start it and wait until it answers; anew where its port was taken before it could take it.

        A port can be found free, and not kept for a program that opens it by itself.

        Raises:
            EngineError: it does not answer.
        """
        for _ in range(ATTEMPTS - 1):
            with suppress(PortTakenError):
                return self._launch()
        return self._launch()

    def _launch(self) -> tuple[ServerProcess, http.Address, Path]:
        folder = Path(tempfile.mkdtemp(prefix="lf-server-"))
        try:
            process, address = self._start(folder)
            self._wait_for(process, address)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return process, address, folder

    def _start(self, folder: Path) -> tuple[ServerProcess, http.Address]:
        options = self._options
        address = http.Address(table.HOST, find_port(), key=secrets.token_urlsafe(32))
        start = table.Start(
            self._program,
            self._opened,
            address.port,
            address.key or "",
            self._context_tokens,
            options.threads,
            options.cache,
            options.parallel,
            str(folder),
            options.pooling,
            options.batch_tokens,
        )
        for name, content in self.server.files(start).items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(content, encoding="utf-8")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_")}
        environment = inherited | self.server.environment(start)
        return ServerProcess(self.server.engine, self.server.command(start), environment, folder), address

    def _wait_for(self, process: ServerProcess, address: http.Address) -> None:
        """Wait until it answers; whatever comes between ends it."""
        end, starting = process.close, self._options.starting
        starting.add(end)
        try:
            process.wait_for(lambda: http.is_healthy(address), self._options.report)
        except BaseException as error:
            end()
            if isinstance(error, EngineError) and process.has_said(self.server.port_taken):
                raise PortTakenError(error.message, detail=error.detail, hint=error.hint) from error
            raise
        finally:
            starting.discard(end)


class ServedModel(limits.ScoresNothing, limits.EmbedsNothing):
    """A model in a server program that runs for it alone."""

    def __init__(
        self, launcher: Launcher, described: files.Described, context_tokens: int, options: LoadOptions
    ) -> None:
        self.server = launcher.server
        self._launcher = launcher
        self._launching = threading.Lock()
        if self.server.warning is not None:
            options.report(self.server.warning, True)
        self._process, self._address, self._folder = launcher.launch()
        try:
            tokens, version, name = self._ask_about()
            self._name = name
            self.info = LoadedInfo(
                backend=self.server.name,
                engine=self.server.engine,
                engine_version=version,
                context_tokens=context_tokens - (options.pooling == "last"),  # room for a token to come
                device=options.placement.upper(),
                placement=options.placement,
                parallel=self.server.requests,
                template=described.template,
                bos_token=described.bos_token or tokens[0],
                eos_token=described.eos_token or tokens[1],
                pooling=options.pooling,
                lacks=self.server.lacks,
                vocabulary_size=described.vocabulary_size,
                likeliest=self.server.likeliest,
            )
            self._first = self._find_first_tokens()
        except BaseException:
            self.close()
            raise

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added.

        Raises:
            EngineError: the server does not tell.
        """
        return self._tokenize(text, special=False)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt; a program that died before is started again."""
        if self.info.pooling is not None:
            raise limits.refuse_as_loaded(embeds=True)
        limits.check_asked(request, self.info)
        self._revive()
        try:
            prompt, count = self._prepare(request)
            allowance = limits.find_allowance(count, self.info.context_tokens, request.max_tokens)
            yield Started(count)
            body = {"model": self._name, "prompt": prompt, "max_tokens": allowance.tokens}
            body |= self.server.describe(request.sampling) | (table.ENDLESS if request.ignore_end else {})
            body |= likely.describe(request.likeliest)
            stream = http.Stream(self._address, "/v1/completions", body)
            yield from follow(stream, request, allowance, count)
        except (EngineError, NetworkError) as error:
            raise self._explain(error) from error

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:
        """The vectors of texts; a program that died before is started again. A cancel hangs up on the server."""
        if not self.server.poolings:
            return super().embed(texts, cancelled)
        if self.info.pooling is None:
            raise limits.refuse_as_loaded(embeds=False)
        self._revive()
        try:
            prompts = [self._tokenize(text, special=True) for text in texts]
            counts = [len(prompt) for prompt in prompts]
            limits.check_texts(texts, counts, self.info.context_tokens)
            vectors = embed(self._address, self._name, prompts, cancelled)
        except (EngineError, NetworkError) as error:
            raise self._explain(error) from error
        return [Embedding(vector, count) for vector, count in zip(vectors, counts, strict=False)]

    def close(self) -> None:
        """End the program."""
        self._process.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _revive(self) -> None:
        """Start a program that died again; one of several requests does it, and the others wait."""
        with self._launching:
            if not self._process.alive:
                self.close()
                self._process, self._address, self._folder = self._launcher.launch()

    def _ask_about(self) -> tuple[tuple[str, str], str, str]:
        """The model's first and last token, the engine's version, and what the model is called in requests."""
        if self.server.describe is table.LLAMA_SERVER.describe:
            told = http.ask(self._address, "/props")
            tokens = (str(told.get("bos_token", "")), str(told.get("eos_token", "")))
            return tokens, str(told.get("build_info", "unknown")), str(told.get("model_alias", table.LOCAL_NAME))
        try:
            version = str(http.ask(self._address, "/version").get("version", "unknown"))
        except LfError:
            version = "unknown"
        return ("", ""), version, table.LOCAL_NAME

    def _prepare(self, request: GenerateRequest) -> tuple[str | list[int], int]:
        """The prompt as it is sent, and its length in tokens."""
        if isinstance(request.prompt, tuple):
            return list(request.prompt), len(request.prompt)
        if not request.prompt:
            return "", 0
        if self.server.tokenizing is None:
            body = {"model": self._name, "prompt": request.prompt, "max_tokens": 1}
            usage = http.ask(self._address, "/v1/completions", body, timeout_s=600).get("usage") or {}
            tokens = usage.get("prompt_tokens")
            if not isinstance(tokens, int):
                raise EngineError(f"{self.server.engine} does not tell how many tokens a prompt has")
            return request.prompt, tokens
        tokens = self.tokenize(request.prompt)
        tokens = begin_with(self._first, tokens)
        return tokens, len(tokens)

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        asked = self.server.tokenizing
        if asked is None:
            raise EngineError(f"{self.server.engine} does not tell the tokens of a text")
        body = {**asked.body, asked.text: text, asked.special: special}
        tokens: list[int] = http.ask(self._address, asked.route, body)["tokens"]
        return tokens

    def _find_first_tokens(self) -> list[int]:
        """The token that the model wants before every prompt, if it wants one."""
        if self.server.tokenizing is None:
            return []
        plain, special = self._tokenize("a", special=False), self._tokenize("a", special=True)
        return special[:1] if special[1 : 1 + len(plain)] == plain else []

    def _explain(self, error: LfError) -> LfError:
        """The error, or that of a program which is gone."""
        deadline = time.monotonic() + DEATH_S
        while isinstance(error, NetworkError) or "broke off" in error.message:
            if not self._process.alive:
                return self._process.explain_end("died while it answered")
            if time.monotonic() > deadline:
                break
            time.sleep(http.POLL_S)
        return error


def find_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind((table.HOST, 0))
        port: int = one.getsockname()[1]
        return port
