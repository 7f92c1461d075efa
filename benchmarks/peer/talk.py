"""Asks contenders: lf through its worker, servers by HTTP, libraries by lines, and programs that measure themselves.

All times are taken here, by one clock, from the question to the end of the answer.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.peer import figures
from benchmarks.peer.figures import Heard
from benchmarks.peer.table import Peer

from localfirst.backends.external import http, served
from localfirst.backends.external.process import ServerProcess
from localfirst.conversation import Answer, Message, Sampling
from localfirst.errors import EngineError, LfError
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMAND_TIMEOUT_S = 600.0


class Question(NamedTuple):
    """What a round asks every contender: the same texts, which nobody was asked before."""

    short: str
    long: str
    third: str
    """As short as the first, and answered with `tokens`."""
    prompt_tokens: int
    """Of the long one, what the template adds included."""
    tokens: int


class Asked(ABC):
    """One contender that is loaded."""

    note = ""
    """What has to be known of its figures."""

    @abstractmethod
    def take(self, question: Question) -> figures.Sample:
        """Its turn in a round.

        Raises:
            LfError: it fails.
        """


class Answering(Asked):
    """One that answers."""

    def take(self, question: Question) -> figures.Sample:
        """Its turn in a round.

        Raises:
            LfError: it fails.
        """
        one, read, answer = (
            self.hear(text, tokens)
            for text, tokens in ((question.short, 1), (question.long, 1), (question.third, question.tokens))
        )
        if answer.tokens != question.tokens:
            said = "an unknown number of" if answer.tokens is None else answer.tokens
            self.note = f"an answer ended by itself after {said} tokens"
        return figures.make_sample(question.prompt_tokens, question.tokens, one, read, answer)

    @abstractmethod
    def hear(self, text: str, tokens: int) -> Heard:
        """One answer.

        Raises:
            LfError: there is none.
        """


class Through(Answering):
    """lf: its worker, asked as `lf run` asks it."""

    def __init__(self, stack: ExitStack, python: str, load: protocol.Load) -> None:
        self._worker = stack.enter_context(Worker(python))
        self.info = self._worker.load(load)

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text."""
        return list(self._worker.tokenize(text))

    def hear(self, text: str, tokens: int) -> Heard:
        """One answer."""
        began = time.perf_counter()
        answer = self._ask(text, tokens)
        return Heard(time.perf_counter() - began, answer.usage.completion_tokens)

    def count_added(self) -> int:
        """The tokens that its template adds to a question."""
        return self._ask("a", 1).usage.prompt_tokens - len(self.tokenize("a"))

    def _ask(self, text: str, tokens: int) -> Answer:
        request = protocol.Chat((Message("user", text),), Sampling(0), tokens, ignore_end=self.info.ignores_end)
        *_, answer = self._worker.answer(request)
        assert isinstance(answer, Answer)
        return answer


class Server(Answering):
    """A server, started here or by somebody else, asked by the HTTP client that `lf bench --api` has."""

    def __init__(self, address: http.Address, peer: Peer) -> None:
        self._address, self._peer = address, peer

    def hear(self, text: str, tokens: int) -> Heard:
        """One answer."""
        body = {
            "model": self._peer.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream_options": {"include_usage": True},
            **self._peer.body,
        }
        began, told, ended = time.perf_counter(), None, ""
        stream = http.Stream(self._address, "/v1/chat/completions", body)
        try:
            while (event := stream.wait(COMMAND_TIMEOUT_S)) is not http.OVER:
                if event is None:
                    raise EngineError(f"{self._peer.name} does not answer")
                told = (event.get("usage") or {}).get("completion_tokens") or told
                ended = next((one.get("finish_reason") or ended for one in event.get("choices") or ()), ended)
            wall_s = time.perf_counter() - began
        finally:
            stream.close()
        return Heard(wall_s, told or (tokens if ended == "length" else None))


class Pipe(Answering):
    """A library in a process of `inside.py`."""

    def __init__(self, stack: ExitStack, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        stack.callback(self._end)
        self._read()

    def hear(self, text: str, tokens: int) -> Heard:
        """One answer."""
        assert self._process.stdin is not None
        began = time.perf_counter()
        self._process.stdin.write(json.dumps({"text": text, "tokens": tokens}).encode() + b"\n")
        self._process.stdin.flush()
        while "tokens" not in (line := self._read()):
            pass
        return Heard(time.perf_counter() - began, line["tokens"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith(b"{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise EngineError(f"it ended with exit code {self._process.wait()}")

    def _end(self) -> None:
        """End it: it started nothing else."""
        self._process.kill()
        self._process.communicate()


class Itself(Asked):
    """A program that measures itself anew in each round."""

    note = "figures of its own, of made-up tokens, without a text"

    def __init__(self, peer: Peer, fill: Fill) -> None:
        self._peer, self._fill = peer, fill

    def take(self, question: Question) -> figures.Sample:
        """Its turn."""
        command = self._fill.command(self._peer.command, prompt=question.prompt_tokens, tokens=question.tokens)
        text = run(command, self._fill.environment(self._peer))
        assert self._peer.parse is not None
        try:
            return self._peer.parse(text)
        except ValueError as error:
            raise EngineError("its figures cannot be read", detail=str(error)) from error


class Fill(NamedTuple):
    """What the words of a row stand for."""

    values: Mapping[str, object]
    inherited: Mapping[str, str]

    def command(self, words: Sequence[str], **more: object) -> list[str]:
        """A command with its words filled in."""
        return [Template(word).substitute({**self.values, **more}) for word in words]

    def environment(self, peer: Peer) -> dict[str, str]:
        """The variables of a peer."""
        said = {name: Template(value).substitute(self.values) for name, value in peer.environment.items()}
        return {**self.inherited, **said}


def open_peer(stack: ExitStack, peer: Peer, values: Mapping[str, object], inherited: Mapping[str, str]) -> Asked:
    """Start a peer, in a folder and a process group of its own, both gone with `stack`.

    Raises:
        LfError: it cannot be started.
    """
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lf-peer-", ignore_cleanup_errors=True))
    port = served.find_port()
    fill = Fill({**values, "folder": folder, "port": port}, inherited)
    environment = fill.environment(peer)
    for name, content in peer.files.items():
        Path(folder, name).write_text(Template(content).substitute(fill.values), encoding="utf-8")
    for words in peer.before:
        run(fill.command(words), environment)
    if peer.way == "program":
        return Itself(peer, fill)
    if peer.way == "pipe":
        return Pipe(stack, fill.command(peer.command), environment)
    process = ServerProcess(peer.name, fill.command(peer.command), environment, Path(folder))
    stack.callback(process.close)
    address = http.Address("127.0.0.1", port)
    process.wait_for(lambda: _answers(address, peer.route), lambda *_: None)
    for words in peer.after:
        run(fill.command(words), environment)
    return Server(address, peer)


def run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a command prints.

    Raises:
        EngineError: it failed.
    """
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"`{Path(command[0]).name}` cannot be run", detail=str(error)) from error
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise EngineError(f"`{Path(command[0]).name}` ended with exit code {done.returncode}", detail=last)
    return done.stdout


def _answers(address: http.Address, route: str) -> bool:
    try:
        http.ask(address, route, timeout_s=http.HEALTH_S)
    except LfError:
        return False
    return True
