"""The worker's child process: one model, loaded and answering until its parent goes away.

The main thread only reads frames, so that a cancel is seen while the engine computes, and so that the end of the pipe
(the parent died, in whatever way) ends this process at once, even in the middle of native code that released the lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from localfirst.backends import base, constraints, registry
from localfirst.chat import call_writing, calls, render
from localfirst.conversation import TextDelta, Usage
from localfirst.errors import ConstraintError, LfError, RuntimeMissingError, UsageError
from localfirst.worker import called, deadline, held, protocol
from localfirst.worker.chat_answer import ChatAnswer
from localfirst.worker.taken import Taken
from localfirst.worker.texts import Texts

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from localfirst.worker.texts import Send


def main() -> None:
    """Serve frames until the pipe closes; never returns."""
    frames_in, frames_out = _claim_pipes()
    _harden()
    child = Child(frames_out, Taken(os.environ["TMPDIR"]))
    for line in frames_in:
        child.accept(*protocol.decode_request(line))
    child.leave()
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os._exit(0)


class Child:
    """Takes requests, runs them one after the other (or `parallel` at once), and writes their events."""

    def __init__(self, frames_out: BinaryIO, taken: Taken) -> None:
        self._out, self._taken = frames_out, taken
        self._write_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._cancelled: dict[int, threading.Event] = {}
        self._asked: dict[int, Future[None]] = {}
        self._model: base.LoadedModel | None = None
        self._title = "This model"
        self._starting: set[Callable[[], None]] = set()
        self._rendering = threading.Lock()
        """One prompt at a time, for a process has one deadline."""

    def accept(self, request_id: int, request: protocol.Request) -> None:
        """Start a request, or cancel one."""
        if isinstance(request, protocol.Cancel):
            self._cancel(request.target)
            return
        self._taken.note(request_id)
        self._cancelled[request_id] = threading.Event()
        self._asked[request_id] = asked = self._pool.submit(self._run, request_id, request)
        asked.add_done_callback(lambda _: self._forget(request_id))

    def _cancel(self, request_id: int) -> None:
        """Let a request end; one that waits for its turn ends here."""
        if (flag := self._cancelled.get(request_id)) is not None:
            flag.set()
        if (asked := self._asked.get(request_id)) is not None and asked.cancel():
            self._send(request_id, protocol.Finished("cancelled", Usage(0, 0), None, None))

    def _forget(self, request_id: int) -> None:
        del self._cancelled[request_id], self._asked[request_id]

    def _send(self, request_id: int, *events: protocol.Event) -> None:
        frames = b"".join(protocol.encode(event, request_id) for event in events)
        with self._write_lock:
            self._out.write(frames)
            self._out.flush()

    def leave(self) -> None:
        """End the programs that are still being started; one that answers has longer than this process to end."""
        for end in tuple(self._starting):
            end()

    def _run(self, request_id: int, request: protocol.Request) -> None:
        send = partial(self._send, request_id)
        try:
            self._answer(request_id, request, send)
        except LfError as error:
            send(_tell(error))
        except ImportError as error:  # engines are imported where they are first needed, whichever they are
            traceback.print_exc()
            send(_tell(_explain_import(error)))
        except BaseException as error:  # noqa: BLE001 - the border of the process: what is not sent is lost
            traceback.print_exc()
            send(protocol.Failed("engine", f"{type(error).__name__}: {error}", _find_place(error), None))

    def _answer(self, request_id: int, request: protocol.Request, send: Send) -> None:
        cancelled = self._cancelled[request_id].is_set
        match request:
            case protocol.Load():
                send(protocol.Loaded(self._load(request, lambda *told: send(protocol.Loading(*told)))))
            case protocol.Look():
                backend = registry.make_backend(request.backend, request.program)
                send(protocol.Seen(backend.list_devices(), backend.describe_build()))
            case protocol.Chat():
                self._chat(request, cancelled, send)
            case protocol.Complete():
                self._complete(request, cancelled, send)
            case protocol.Count():
                send(protocol.Counted(self._count(request.chat)))
            case protocol.Tokenize():
                send(protocol.Tokens(tuple(self._loaded().tokenize(request.text))))
            case protocol.Embed():
                send(protocol.Embedded(tuple(self._loaded().embed(request.texts, cancelled))))
            case protocol.Score():
                send(protocol.Scored(self._loaded().score(request.tokens, request.likeliest, cancelled)))
            case protocol.Cancel():
                raise AssertionError("a cancel is never queued")

    def _load(self, request: protocol.Load, report: Callable[[str, bool], None]) -> base.LoadedInfo:
        if self._model is not None:
            raise UsageError("This worker already holds a model")
        self._title = request.title
        backend = registry.make_backend(request.backend, request.program)
        options = base.LoadOptions(
            context_tokens=request.context_tokens,
            threads=request.threads,
            placement=request.placement,
            device_layers=request.device_layers,
            cache=request.cache,
            memory_bytes=request.memory_bytes,
            parallel=request.parallel,
            key=request.key,
            model=request.model,
            report=report,
            starting=self._starting,
            requests=request.requests,
            pooling=request.pooling,
            budget_bytes=request.budget_bytes,
            batch_tokens=request.batch_tokens,
        )
        self._model = backend.load(base.ModelFiles(request.main, request.draft), options)
        info = self._model.info
        self._pool = ThreadPoolExecutor(max_workers=info.parallel)
        return info

    def _complete(self, request: protocol.Complete, cancelled: Callable[[], bool], send: Send) -> None:
        asked = base.GenerateRequest(
            prompt=request.prompt,
            sampling=request.sampling,
            max_tokens=request.max_tokens,
            stop=request.stop,
            cancelled=cancelled,
            constraint=request.constraint,
            ignore_end=request.ignore_end,
            likeliest=request.likeliest,
        )
        texts = Texts(send)

        def take(chunk: base.Chunk) -> None:
            texts.take(chunk, lambda piece: texts.add(TextDelta(piece.text, weighed=piece.weighed)))

        with contextlib.closing(texts):
            held.follow(self._loaded(), asked, take, texts.pass_on)

    def _chat(self, request: protocol.Chat, cancelled: Callable[[], bool], send: Send) -> None:
        model = self._loaded()
        if isinstance(model, base.Converser):
            self._converse(model, request, cancelled, send)
            return
        template = model.info.template or render.FALLBACK_TEMPLATE
        stop = request.stop if model.info.template else (*request.stop, *render.FALLBACK_STOP)
        offered = _find_offered(request)
        prompt = self._render(request, template)
        reader = calls.AnswerReader(template, prompt, offered)
        texts = Texts(send)
        answer = ChatAnswer(texts, reader, request.choice, cancelled)
        asked = base.GenerateRequest(
            prompt,
            request.sampling,
            request.max_tokens,
            stop,
            answer.is_to_end,
            request.constraint,
            reader.special,
            request.ignore_end,
            request.likeliest,
        )
        with contextlib.closing(texts):
            if request.choice.use == "required":
                for chunk in self._call(request, template, asked, reader):
                    answer.take(chunk)
                    texts.pass_on()
            else:
                held.follow(model, asked, answer.take, texts.pass_on, reader.thinking)

    def _render(self, request: protocol.Chat, template: str) -> str:
        info = self._loaded().info
        with self._rendering, deadline.ending_within(deadline.RENDER_TIMEOUT_S):
            return render.render_chat(
                template,
                request.messages,
                bos_token=info.bos_token,
                eos_token=info.eos_token,
                options=request.options,
                tools=_find_offered(request),
                model=self._title,
            )

    def _count(self, request: protocol.Chat) -> int:
        """The tokens of a prompt as its engine begins to read it, which goes no further."""
        model = self._loaded()
        if not isinstance(model, base.Converser):
            prompt = self._render(request, model.info.template or render.FALLBACK_TEMPLATE)
            first = next(model.generate(base.GenerateRequest(prompt, request.sampling)))
            if isinstance(first, base.Started) and first.prompt_tokens is not None:
                return first.prompt_tokens
        raise UsageError(f"{model.info.engine} does not tell how long a prompt is before it has answered")

    def _call(
        self, request: protocol.Chat, template: str, asked: base.GenerateRequest, reader: calls.AnswerReader
    ) -> Iterator[base.Chunk]:
        """The answer, held to a call of a tool."""
        schemas = called.find_schemas(request.tools, request.choice)
        if not schemas:
            raise UsageError(f"There is no tool {f'`{request.choice.name}` ' if request.choice.name else ''}to call")
        writing = call_writing.find_writing(template)
        if writing is None or writing.spell is not None:
            raise called.refuse(self._title)
        number = sum(len(message.tool_calls) for message in request.messages)
        return called.generate(self._loaded(), asked, schemas, writing.at(number), reader.thinking)

    def _converse(
        self,
        model: base.Converser,
        request: protocol.Chat,
        cancelled: Callable[[], bool],
        send: Send,
    ) -> None:
        """Hand the messages to a server that renders them itself, and tells thinking from the answer if it can."""
        name = self._loaded().info.engine
        if request.constraint is not None:
            raise ConstraintError(
                f"lf cannot hold the answers of {name} to {constraints.NAMES[request.constraint.kind]}",
                detail="its server computes the answer, and dialects differ in how that is said",
                hint="Leave that out, or take a model that runs here: `lf list --fits`",
            )
        if request.tools:
            raise UsageError(
                f"{name} is given no tools: its server writes the prompt itself",
                hint="Leave out `--tools`, or take a model that runs here: `lf list --fits`",
            )
        asked = base.GenerateRequest(
            "",
            request.sampling,
            request.max_tokens,
            request.stop,
            cancelled,
            ignore_end=request.ignore_end,
            likeliest=request.likeliest,
        )
        texts = Texts(send)
        with contextlib.closing(texts):
            for chunk in model.converse(request.messages, asked):
                texts.take(chunk, lambda piece: texts.add(TextDelta(piece.text, piece.reasoning, piece.weighed)))
                texts.pass_on()

    def _loaded(self) -> base.LoadedModel:
        if self._model is None:
            raise UsageError("This worker holds no model yet")
        return self._model


def _find_offered(request: protocol.Chat) -> tuple[dict[str, Any], ...]:
    return () if request.choice.use == "none" else request.tools


def _tell(error: LfError) -> protocol.Failed:
    return protocol.Failed(error.code, error.message, error.detail, error.hint)


def _find_place(error: BaseException) -> str | None:
    """Where it was raised, in as many words as a report needs; all of it is in the log."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else None


def _explain_import(error: ImportError) -> RuntimeMissingError:
    """The error for an interpreter that lacks an engine, or a library that the engine is linked to."""
    return RuntimeMissingError(
        f"{sys.executable} cannot import {error.name or 'its engine'}",
        detail=str(error),
        hint="If an `LF_RUNTIME_...` variable names this Python, name one that has the engine, or unset it; "
        "else remove and install the engine again: `lf runtime list`",
    )


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for frames alone: engines print to stdout, so that goes where stderr goes, to the log."""
    frames_in, frames_out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return frames_in, frames_out


def _harden() -> None:
    """No core dumps of a process that holds prompts, no telemetry package to import, and an end to what has none."""
    deadline.prepare()
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
