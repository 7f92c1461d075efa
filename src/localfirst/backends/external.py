"""Runs models in programs that serve OpenAI's dialect over HTTP, and asks servers elsewhere.

llamafile, llama.cpp's server, vLLM, SGLang, TensorRT-LLM: what differs between them is in `external_table`.

A program listens on this machine only, on a port and with a key made up for it, and ends with the worker.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst.backends import external_files, external_http, limits
from localfirst.backends import external_table as table
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Piece, Started
from localfirst.backends.external_process import ServerProcess
from localfirst.backends.text import StopFilter
from localfirst.conversation import Usage
from localfirst.errors import (
    DeviceError,
    EngineError,
    LfError,
    ModelFileError,
    NetworkError,
    RuntimeMissingError,
    UnknownNameError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.conversation import FinishReason, Message, Sampling
    from localfirst.types import Placement

POLL_S = 0.05
"""How often a cancel is looked for while a server is busy."""
VERSION_TIMEOUT_S = 30.0
DEATH_S = 2.0
"""How long the end of a program may come after that of its connections."""
MOST_WINDOWS_BYTES = 4 * 2**30
"""Windows runs no program of 4 GiB or more. Source: mozilla-ai/llamafile, `docs/troubleshooting.md`."""
OLDEST_LLAMAFILE = (0, 10)
"""Before it, the server inside was another one, with other options and routes."""


class ServerBackend:
    """Starts one kind of server program."""

    server: table.Server
    placements: tuple[Placement, ...] = ("gpu",)

    def __init__(self, program: str | None = None) -> None:
        """Take the program to start, where the model is not its own."""
        self._program = program

    def list_devices(self) -> tuple[str, ...]:
        """None: which devices such a program sees, it says only when it has loaded a model."""
        return ()

    def describe_build(self) -> str:
        """What the program answers to `--version`, in one line."""
        if self._program is None:
            return f"{self.server.engine}: each model brings its own"
        return f"{self._program}: {_ask_version(self._wrap(self._program))}"

    def load(self, files: ModelFiles, options: LoadOptions) -> ServedModel:
        """Start the program with a model, and wait until it answers.

        Raises:
            ModelFileError: a file is missing or damaged.
            UsageError: it cannot spread a model as it is asked to.
            DeviceError: it does not compute where it is asked to.
            EngineError: it ends, or does not answer; its last words are in the detail.
        """
        main = Path(files.main)
        table.refuse_spreading(self.server.engine, self.server.spreads, options.parallel)
        if options.placement not in self.placements:
            message = f"{self.server.engine} is not started for a device of kind `{options.placement}`"
            raise DeviceError(message, detail=f"it is for: {', '.join(self.placements)}")
        described = self._describe(main)
        context_tokens = min(filter(None, (options.context_tokens, described.context_tokens)), default=None)
        if context_tokens is None:
            raise ModelFileError(f"{main.name} does not say how long its context is")
        program, opened = self._find_program(main, described, options.report)
        return ServedModel(
            _Launcher(self.server, program, opened, context_tokens, options), described, context_tokens, options
        )

    def _wrap(self, program: str) -> tuple[str, ...]:
        """How the program is started."""
        return (program,)

    def _describe(self, main: Path) -> external_files.Described:
        return external_files.read_folder(main)

    def _find_program(
        self, main: Path, _described: external_files.Described, _report: Callable[[str, bool], None]
    ) -> tuple[tuple[str, ...], str]:
        """What to start, and what it is to open."""
        if self._program is None:
            raise RuntimeMissingError(f"{self.server.engine} is not here")
        return self._wrap(self._program), str(main)


class VllmBackend(ServerBackend):
    """vLLM, from a folder."""

    server = table.VLLM


class SglangBackend(ServerBackend):
    """SGLang, from a folder."""

    server = table.SGLANG


class TensorrtBackend(ServerBackend):
    """TensorRT-LLM, from a folder."""

    server = table.TENSORRT


class LlamaServerBackend(ServerBackend):
    """llama.cpp's own server, from a GGUF file."""

    server = table.LLAMA_SERVER
    placements = ("cpu",)

    def _describe(self, main: Path) -> external_files.Described:
        return external_files.read_gguf(main)


class LlamafileBackend(ServerBackend):
    """A llamafile, which is its own server; or, by a llamafile without a model, any GGUF file."""

    server = table.LLAMAFILE
    placements = ("cpu",)

    def _wrap(self, program: str) -> tuple[str, ...]:
        return wrap_program(program)

    def _describe(self, main: Path) -> external_files.Described:
        if main.suffix.lower() == ".gguf":
            return external_files.read_gguf(main)
        return external_files.read_llamafile(main)

    def _find_program(
        self, main: Path, described: external_files.Described, report: Callable[[str, bool], None]
    ) -> tuple[tuple[str, ...], str]:
        if described.member is not None:
            problem = find_obstacle(main, described.arguments, sys.platform) or _find_age(main)
            if problem is None:
                if "--unsecure" in described.arguments:
                    report(f"{main.name} switches its own sandbox off", True)
                return self._wrap(str(main)), f"/zip/{described.member}"
            if self._program is None:
                raise RuntimeMissingError(
                    f"{main.name} cannot be its own program here: {problem}",
                    hint="Name a llamafile of version 0.10 or newer that has no model inside in `LF_RUNTIME_LLAMAFILE`:"
                    " it runs the model that this one has",
                )
            report(f"{main.name} is opened by {self._program}: {problem}", True)
        if self._program is None:
            raise RuntimeMissingError(
                "A GGUF file needs a llamafile program",
                hint="Name one in `LF_RUNTIME_LLAMAFILE`, or leave out `#llamafile`",
            )
        return self._wrap(self._program), str(main)


class RemoteBackend:
    """A server elsewhere, or started by somebody else: nothing is started, nothing is loaded."""

    def list_devices(self) -> tuple[str, ...]:
        """None of ours."""
        return ()

    def describe_build(self) -> str:
        """It does not say."""
        return "a server that speaks OpenAI's dialect"

    def load(self, files: ModelFiles, options: LoadOptions) -> RemoteModel:
        """Ask the server at the address `files.main` which models it has, and take the one that is meant.

        Raises:
            UsageError: the address is none.
            NetworkError: there is no answer.
            UnknownNameError: it has no such model, or several where none was named.
            EngineError: it wants a key, or is no such server.
        """
        address = external_http.parse_address(files.main, options.key)
        listed = external_http.ask(address, "/v1/models").get("data") or ()
        models = (
            {str(one.get("id")): one for one in listed if isinstance(one, dict)} if isinstance(listed, list) else {}
        )
        name = options.model or next(iter(models), None)
        if name is None or (options.model is None and len(models) > 1) or (models and name not in models):
            raise UnknownNameError(
                f"{address} has no model `{options.model}`" if options.model else f"{address} has {len(models)} models",
                detail="\n".join(sorted(models)) or None,
                hint=f"Name one of them: remote:{address}/v1@MODEL",
            )
        return RemoteModel(address, name, _find_context(models.get(name, {})) or options.context_tokens, options)


def find_obstacle(main: Path, arguments: Sequence[str], platform: str) -> str | None:
    """Why a llamafile cannot be started as it is; `None` where it can."""
    if platform == "win32" and main.stat().st_size >= MOST_WINDOWS_BYTES:
        return "Windows runs no program of 4 GB or more"
    if external_files.REST in arguments and arguments[-1] != external_files.REST:
        return "its own arguments would win over lf's"
    if platform != "win32" and not os.access(main, os.X_OK):
        return f"it may not be run; `chmod +x {main}` allows it"
    return None


def _find_age(main: Path) -> str | None:
    """What is wrong with the version of a llamafile."""
    told = _ask_version(wrap_program(str(main)))
    numbers = tuple(int(part) for part in told.rpartition("v")[2].split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_LLAMAFILE:
        return f"its engine is {told}, whose server lf does not speak to"
    return None


def wrap_program(program: str, platform: str = sys.platform) -> tuple[str, ...]:
    """How a llamafile is started: by a shell, for it begins as a script.

    Kernels know its format only where somebody registered it, and others take it for a Windows program. Source:
    mozilla-ai/llamafile, `docs/troubleshooting.md`.
    """
    return (program,) if platform == "win32" else ("/bin/sh", program)


def _ask_version(program: tuple[str, ...]) -> str:
    """What a program answers to `--version`.

    Raises:
        EngineError: it cannot be run, or does not answer.
    """
    try:
        done = subprocess.run(
            [*program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"`{program[-1]}` cannot be run", detail=str(error)) from error
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    return next((line for line in lines if "version" in line or " v" in line), lines[0] if lines else "no version")


class _Launcher:
    """Starts a server program, again where it died."""

    def __init__(
        self, server: table.Server, program: tuple[str, ...], opened: str, context_tokens: int, options: LoadOptions
    ) -> None:
        self.server = server
        self._program, self._opened, self._context_tokens, self._options = program, opened, context_tokens, options

    def launch(self) -> tuple[ServerProcess, external_http.Address, Path]:
        """Start it and wait until it answers.

        Raises:
            EngineError: it does not.
        """
        folder = Path(tempfile.mkdtemp(prefix="lf-server-"))
        key = secrets.token_urlsafe(32)
        port = _find_port()
        options = self._options
        start = table.Start(
            self._program,
            self._opened,
            port,
            key,
            self._context_tokens,
            options.threads,
            options.cache,
            options.parallel,
            str(folder),
        )
        for name, content in self.server.files(start).items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(content, encoding="utf-8")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_")}
        environment = inherited | self.server.environment(start)
        process = ServerProcess(self.server.engine, self.server.command(start), environment, folder)
        address = external_http.Address(table.HOST, port, key=key)
        try:
            process.wait_for(lambda: external_http.is_healthy(address), options.report)
        except BaseException:
            process.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return process, address, folder


def _follow(
    stream: external_http.Stream, request: GenerateRequest, allowance: limits.Allowance, prompt_tokens: int | None
) -> Iterator[Chunk]:
    """The pieces of an answer and its end. A cancelled answer ends at once, and so does the connection."""
    answer = _Answer(prompt_tokens)
    stop = StopFilter(request.stop)
    try:
        reason: FinishReason | None = None
        while reason is None:
            event = stream.wait(POLL_S)
            if request.cancelled():
                reason = "cancelled"
            elif event is external_http.OVER:
                reason = answer.find_reason(allowance)
            elif event is not None:
                for piece in answer.take(event):
                    text = piece.text if piece.reasoning else stop.feed(piece.text)
                    if text:
                        yield Piece(text, piece.reasoning)
                reason = "stop" if stop.matched else None
    finally:
        stream.close()
    if held := stop.flush():
        yield Piece(held)
    yield answer.finish(reason)


class ServedModel:
    """A model in a server program that runs for it alone."""

    def __init__(
        self, launcher: _Launcher, described: external_files.Described, context_tokens: int, options: LoadOptions
    ) -> None:
        self.server = launcher.server
        self._launcher = launcher
        self._process, self._address, self._folder = launcher.launch()
        try:
            tokens, version, name = self._ask_about()
            self._name = name
            self.info = LoadedInfo(
                backend=self.server.name,
                engine=self.server.engine,
                engine_version=version,
                context_tokens=context_tokens,
                device=options.placement.upper(),
                placement=options.placement,
                parallel=self.server.requests,
                template=described.template,
                bos_token=described.bos_token or tokens[0],
                eos_token=described.eos_token or tokens[1],
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
        refuse_sampling(self.server, request.sampling)
        if not self._process.alive:
            self._process.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._process, self._address, self._folder = self._launcher.launch()
        try:
            prompt, count = self._prepare(request)
            allowance = limits.find_allowance(count, self.info.context_tokens, request.max_tokens)
            yield Started(count)
            body = {"model": self._name, "prompt": prompt, "max_tokens": allowance.tokens}
            body |= self.server.describe(request.sampling)
            stream = external_http.Stream(self._address, "/v1/completions", body)
            yield from _follow(stream, request, allowance, count)
        except (EngineError, NetworkError) as error:
            raise self._explain(error) from error

    def close(self) -> None:
        """End the program."""
        self._process.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask_about(self) -> tuple[tuple[str, str], str, str]:
        """The model's first and last token, the engine's version, and what the model is called in requests."""
        if self.server.describe is table.LLAMA_SERVER.describe:
            told = external_http.ask(self._address, "/props")
            tokens = (str(told.get("bos_token", "")), str(told.get("eos_token", "")))
            return tokens, str(told.get("build_info", "unknown")), str(told.get("model_alias", table.LOCAL_NAME))
        try:
            version = str(external_http.ask(self._address, "/version").get("version", "unknown"))
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
            usage = external_http.ask(self._address, "/v1/completions", body, timeout_s=600).get("usage") or {}
            return request.prompt, int(usage["prompt_tokens"])
        tokens = self.tokenize(request.prompt)
        tokens = tokens if tokens[: len(self._first)] == self._first else self._first + tokens
        return tokens, len(tokens)

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        asked = self.server.tokenizing
        if asked is None:
            raise EngineError(f"{self.server.engine} does not tell the tokens of a text")
        body = {**asked.body, asked.text: text, asked.special: special}
        tokens: list[int] = external_http.ask(self._address, asked.route, body)["tokens"]
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
            time.sleep(POLL_S)
        return error


class RemoteModel:
    """A model in a server that is not ours. It renders prompts itself, from the messages."""

    def __init__(
        self, address: external_http.Address, name: str, context_tokens: int | None, options: LoadOptions
    ) -> None:
        self._address, self._name = address, name
        self.info = LoadedInfo(
            backend=table.REMOTE.name,
            engine=str(address),
            engine_version="unknown",
            context_tokens=context_tokens or 0,
            device=address.host,
            placement=options.placement,
            parallel=table.REMOTE.requests,
            template=None,
        )

    def tokenize(self, text: str) -> list[int]:
        """Refused: its tokens are its own.

        Raises:
            EngineError: always.
        """
        raise EngineError(f"{self._address} does not tell the tokens of a text", detail=f"{len(text)} characters")

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Continue a text as it stands."""
        if isinstance(request.prompt, tuple):
            raise UsageError("A server elsewhere takes a text, not token ids")
        yield from self._answer("/v1/completions", {"prompt": request.prompt}, request)

    def converse(self, messages: Sequence[Message], request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a conversation."""
        said = [{"role": message.role, "content": message.content} for message in messages]
        yield from self._answer("/v1/chat/completions", {"messages": said}, request)

    def close(self) -> None:
        """Nothing of ours is there."""

    def _answer(self, route: str, asked: dict[str, Any], request: GenerateRequest) -> Iterator[Chunk]:
        refuse_sampling(table.REMOTE, request.sampling)
        most = {} if request.max_tokens is None else {"max_tokens": request.max_tokens}
        yield Started(None)
        body = {"model": self._name, **asked, **most, **table.REMOTE.describe(request.sampling)}
        stream = external_http.Stream(self._address, route, body)
        # Who asked for no maximum and is cut off has filled the context, as far as anyone can tell.
        ended: FinishReason = "context" if request.max_tokens is None else "length"
        allowance = limits.Allowance(request.max_tokens or 0, ended)
        yield from _follow(stream, request, allowance, None)


class _Answer:
    """What the events of an answer say: text, counts, times, and why it ended."""

    def __init__(self, prompt_tokens: int | None) -> None:
        self._usage = Usage(prompt_tokens or 0, 0)
        self._timings: dict[str, Any] = {}
        self._begun_s = time.monotonic()
        self._first_s: float | None = None
        self._pieces = 0
        self._ended: str | None = None

    def take(self, event: dict[str, Any]) -> Iterator[Piece]:
        """The text of an event."""
        self._count(event)
        for choice in event.get("choices") or ():
            self._ended = choice.get("finish_reason") or self._ended
            delta = choice.get("delta") or {}
            said = choice.get("text") or delta.get("content") or ""
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if said or thought:
                self._pieces += 1
                self._first_s = self._first_s or time.monotonic()
            if thought:
                yield Piece(thought, reasoning=True)
            if said:
                yield Piece(said)

    def find_reason(self, allowance: limits.Allowance) -> FinishReason:
        """Why the server ended it."""
        return allowance.finish_reason if self._ended == "length" else "stop"

    def finish(self, reason: FinishReason) -> Finished:
        """The end of the answer, as far as it came."""
        usage = self._usage
        if not usage.completion_tokens:
            usage = Usage(usage.prompt_tokens, self._pieces, usage.cached_tokens)
        if self._timings:
            counted = bool(usage.completion_tokens)
            prefill_s, decode_s = (self._timings[name] / 1000 for name in ("prompt_ms", "predicted_ms"))
            return Finished(reason, usage, prefill_s if counted else None, decode_s if counted else None)
        if self._first_s is None:
            return Finished(reason, usage)
        return Finished(reason, usage, self._first_s - self._begun_s, time.monotonic() - self._first_s)

    def _count(self, event: dict[str, Any]) -> None:
        """Take the counts of an event: llama.cpp's timings, or OpenAI's usage."""
        usage = self._usage
        self._timings = event.get("timings") or self._timings
        if self._timings:
            cached = max(
                usage.cached_tokens,
                int(event.get("prompt_progress", {}).get("cache", 0)),
                int(self._timings.get("cache_n", 0)),
            )
            self._usage = Usage(usage.prompt_tokens, int(self._timings.get("predicted_n", 0)), cached)
        if told := event.get("usage"):
            cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            self._usage = Usage(int(told["prompt_tokens"]), int(told.get("completion_tokens") or 0), int(cached))


def refuse_sampling(server: table.Server, sampling: Sampling) -> None:
    """Refuse what the server does not know, by name.

    Raises:
        UsageError: it was asked for.
    """
    for name in server.refused:
        if getattr(sampling, name) is not None:
            raise UsageError(f"{server.engine[:1].upper()}{server.engine[1:]} knows no `{name}`", hint="Leave it out")


def _find_context(listed: dict[str, Any]) -> int | None:
    """The context that a server tells of a model: vLLM and SGLang, or llama.cpp."""
    told = listed.get("max_model_len") or (listed.get("meta") or {}).get("n_ctx")
    return told if isinstance(told, int) else None


def _find_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind((table.HOST, 0))
        port: int = one.getsockname()[1]
        return port
