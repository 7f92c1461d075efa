"""The chat: a prompt, an answer as it streams, and again, until the user leaves.

A Ctrl-C while the model answers stops the answer; whatever goes wrong in an answer is said, and the chat goes on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.cli import output
from localfirst.cli.answer import AnswerPrinter
from localfirst.cli.repl_commands import Chat, find_completions, run_command, say_waiting
from localfirst.cli.screen import block, stdout_screen
from localfirst.conversation import find_waiting
from localfirst.errors import LfError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History

    from localfirst.cli.repl_commands import Session
    from localfirst.conversation import TextDelta

PROMPT = ">>> "
MORE = "... "
FENCE = '"""'
_PLACEHOLDER = "Say something, or /help"


def run_chat(session: Session, *, stats: bool = False, raw: bool = False, keep_history: bool = True) -> None:
    """Chat until the user leaves; stdin and stdout must be terminals.

    `stats` shows each answer's speed, `raw` passes the model's control characters, `keep_history` keeps what is typed
    for the next chat.
    """
    lines = _make_prompt(keep_history=keep_history)
    chat = Chat(session)
    while (message := _read_message(lines)) is not None:
        if not message.text.strip():
            continue
        if message.fenced or not message.text.startswith("/"):
            if waiting := find_waiting(session.messages):
                output.print_notice(f"{say_waiting(waiting)}; `/regen` answers the question again")
                continue
            _answer(_say(chat, message.text), session, stats=stats, raw=raw)
            continue
        outcome = run_command(chat, message.text)
        if outcome.text:
            stdout_screen().write_lines([*block(outcome.text, ""), ""])
        if outcome.then == "leave":
            return
        if outcome.then == "answer again":
            _answer(session.regenerate(), session, stats=stats, raw=raw)


@dataclass(frozen=True, slots=True)
class _Message:
    """What was typed. Between fences a leading `/` is no command."""

    text: str
    fenced: bool = False


def _say(chat: Chat, text: str) -> Iterator[TextDelta]:
    from localfirst.services.prompt import compose

    attachments = tuple(chat.attachments)
    chat.attachments.clear()
    return chat.session.stream(compose(text, attachments))


def _answer(pieces: Iterator[TextDelta], session: Session, *, stats: bool, raw: bool) -> None:
    """Print an answer; a Ctrl-C stops it, and an error in it is said."""
    printer = AnswerPrinter(raw=raw)
    try:
        with _stop_on_interrupt(session) as stopped, _closing(pieces):
            for piece in pieces:
                printer.write(piece)
    except KeyboardInterrupt:
        printer.finish()
        output.print_notice("stopped")
    except LfError as error:
        printer.finish()
        output.print_error(error)
    else:
        printer.finish()
        if stopped.is_set():
            output.print_notice("stopped")
        if session.last is not None:
            output.print_calls(session.last.tool_calls)
            if session.last.tool_calls:
                output.print_notice(say_waiting(session.last.tool_calls))
            if stats:
                output.print_stats(session.last)
            _tell_cut_off(session)
    output.print_text("\n")


def _tell_cut_off(session: Session) -> None:
    """Say of an answer under a constraint that it is not whole; the chat goes on."""
    from localfirst.services.structure import check_whole

    try:
        if session.last is not None:
            check_whole(session.constraint, session.last)
    except LfError as error:
        output.print_error(error)


@contextmanager
def _stop_on_interrupt(session: Session) -> Iterator[Event]:
    """Let the first Ctrl-C end the answer in good order, and a second one interrupt whatever hangs."""
    stopped = Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        session.cancel()

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _closing(pieces: Iterator[TextDelta]) -> Iterator[None]:
    """Close a generator of pieces on the way out, also where printing one failed."""
    try:
        yield
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


def _read_message(lines: PromptSession[str]) -> _Message | None:
    """The next message, or `None` when the user leaves: Ctrl-D, or Ctrl-C twice at an empty prompt."""
    warned = False
    while True:
        try:
            first = lines.prompt(PROMPT)
            if not first.lstrip().startswith(FENCE):
                return _Message(first)
            return _Message(_read_fenced(lines, first.lstrip().removeprefix(FENCE)), fenced=True)
        except EOFError:
            return None
        except KeyboardInterrupt:
            empty = not lines.default_buffer.text  # else it was meant for the line that was begun
            if warned and empty:
                return None
            warned = empty
            if warned:
                output.print_notice("Press Ctrl-C again to leave, or type /bye")


def _read_fenced(lines: PromptSession[str], first: str) -> str:
    """The text up to a line that ends with the fence; it may be on the first line already."""
    text = first
    while not text.rstrip().endswith(FENCE):
        text += "\n" + lines.prompt(MORE)
    return text.rstrip().removesuffix(FENCE).strip("\n")


def _make_prompt(*, keep_history: bool) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.formatted_text import FormattedText
    from prompt_toolkit.styles import Style

    def show_placeholder() -> FormattedText:
        """The hint in an empty line, gone from a line that has been left."""
        return FormattedText([] if prompt.app.is_done else [("class:placeholder", _PLACEHOLDER)])

    prompt: PromptSession[str] = PromptSession(
        history=_make_history(keep=keep_history),
        completer=_make_completer(),
        complete_while_typing=Condition(lambda: prompt.default_buffer.text.startswith("/")),
        placeholder=show_placeholder,
        style=Style.from_dict({"placeholder": "ansibrightblack"}),
        enable_open_in_editor=True,
    )
    return prompt


def _make_history(*, keep: bool) -> History:
    """The lines typed so far, kept in a file that only its owner reads; in memory where that cannot be."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if not keep:
        return InMemoryHistory()
    path = paths.history_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        output.print_notice(f"What you type is not kept: {error.strerror} ({path})")
        return InMemoryHistory()
    return FileHistory(path)


def _make_completer() -> Completer:
    from prompt_toolkit.completion import Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document

    class Commands(Completer):
        """Whole command lines, and paths after `/file`."""

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            typed = document.text_before_cursor
            if typed.startswith("/file "):
                path = typed.removeprefix("/file ")
                yield from paths_below.get_completions(Document(path), complete_event)
                return
            for line in find_completions(typed):
                yield Completion(line, start_position=-len(typed))

    paths_below = PathCompleter(expanduser=True)
    return Commands()
