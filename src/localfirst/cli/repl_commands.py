"""The slash commands of the chat: a table of names, each with its help and what it does to a session.

Knows no terminal: a command gives back what to say and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from localfirst import paths
from localfirst.cli.screen import line
from localfirst.conversation import Constraint, Sampling, find_waiting
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from localfirst.conversation import Answer, Message, TextDelta, ToolCall


class Session(Protocol):
    """A conversation with a loaded model."""

    system: str | None
    sampling: Sampling
    max_tokens: int | None
    messages: list[Message]
    last: Answer | None
    """The last finished answer."""
    constraint: Constraint | None
    """What its answers are held to."""

    def info(self) -> Mapping[str, str]:
        """What is loaded, label by label."""
        ...

    def stream(self, text: str) -> Iterator[TextDelta]:
        """Say `text`; closing the iterator stops the answer and keeps what was said."""
        ...

    def cancel(self) -> None:
        """Let the answer in flight end soon with what it has; called from a signal handler."""
        ...

    def answer_call(self, call: ToolCall, text: str) -> None:
        """Keep the result of a call."""
        ...

    def regenerate(self) -> Iterator[TextDelta]:
        """Answer the last question, or go on from results of calls, again."""
        ...

    def clear(self) -> None:
        """Forget the conversation."""
        ...


@dataclass
class Chat:
    """A session and what the next message will carry."""

    session: Session
    attachments: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command leads to: something to say, and what the chat does next."""

    text: str = ""
    then: Literal["ask", "answer again", "leave"] = "ask"


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command: each way to write it with its help, what it does, and what may follow its name."""

    usages: tuple[tuple[str, str], ...]
    run: Callable[[Chat, str], Outcome]
    arguments: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that `/set parameter` changes: its type, its range, and whether `off` is a value."""

    kind: type[int | float]
    low: float
    high: float | None = None
    may_be_off: bool = True

    def parse(self, text: str) -> float | None:
        """The value that a text means, `None` for `off`.

        Raises:
            UsageError: it is no such value.
        """
        if text == "off" and self.may_be_off:
            return None
        try:
            value = self.kind(text)
        except ValueError:
            value = None
        if value is None or not self.low <= value <= (float("inf") if self.high is None else self.high):
            raise UsageError(f"`{text}` is not {self.describe()}")
        return value

    def describe(self) -> str:
        """`a whole number from 1, or off`."""
        number = "a whole number" if self.kind is int else "a number"
        upper = "" if self.high is None else f" to {self.high:,}"
        return f"{number} from {self.low:,}{upper}{', or off' if self.may_be_off else ''}"


PARAMETERS = {
    "temperature": Parameter(float, 0, 10, may_be_off=False),
    "top_k": Parameter(int, 1),
    "top_p": Parameter(float, 0, 1),
    "min_p": Parameter(float, 0, 1),
    "repetition_penalty": Parameter(float, 0.1, 10),
    "seed": Parameter(int, 0, 2**32 - 1),
    "max_tokens": Parameter(int, 1),
}
_SAMPLED = {one.name for one in fields(Sampling)}


def run_command(chat: Chat, typed: str) -> Outcome:
    """Do what a line that begins with `/` says; a mistake in it is answered, never raised."""
    name, _, argument = typed.strip().partition(" ")
    command = COMMANDS.get(ALIASES.get(name, name))
    if command is None:
        return Outcome(f"No command `{line(name)}`. There are: {' '.join(COMMANDS)}")
    try:
        return command.run(chat, argument.strip())
    except UsageError as error:
        detail = f" ({line(error.detail)})" if error.detail else ""
        return Outcome(f"{line(error.message)}{detail}")


def find_completions(typed: str) -> tuple[str, ...]:
    """The commands that a line could become, each as a whole line; paths are completed elsewhere."""
    if not typed.startswith("/"):
        return ()
    lines = [f"{name} {argument}" if argument else name for name, one in COMMANDS.items() for argument in one.arguments]
    return tuple(one for one in lines if one.startswith(typed) and one != typed)


def _help(_: Chat, __: str) -> Outcome:
    rows = [usage for command in COMMANDS.values() for usage in command.usages]
    width = max(len(usage) for usage, _ in rows)
    return Outcome("\n".join(f"{usage:{width}}  {text}" for usage, text in (*rows, *KEYS)))


def _leave(_: Chat, __: str) -> Outcome:
    return Outcome(then="leave")


def _clear(chat: Chat, _: str) -> Outcome:
    chat.session.clear()
    chat.attachments.clear()
    return Outcome("The conversation is forgotten")


def _set(chat: Chat, argument: str) -> Outcome:
    what, _, rest = argument.partition(" ")
    setters = {"system": _set_system, "parameter": _set_parameter}
    if what not in setters:
        raise UsageError("Write `/set system TEXT` or `/set parameter NAME VALUE`")
    return setters[what](chat, rest.strip())


def _set_system(chat: Chat, text: str) -> Outcome:
    chat.session.system = text or None
    return Outcome("The system text is set" if text else "The system text is gone")


def _set_parameter(chat: Chat, argument: str) -> Outcome:
    name, _, text = argument.partition(" ")
    parameter = PARAMETERS.get(name)
    if parameter is None:
        problem = f"No parameter `{line(name)}`" if name else "Name a parameter"
        raise UsageError(f"{problem}. There are: {' '.join(PARAMETERS)}")
    if not text:
        value = _say_value(_read_parameter(chat.session, name))
        return Outcome(f"`{name}` is {value}; it takes {parameter.describe()}")
    parsed = parameter.parse(text.strip())
    if name in _SAMPLED:
        changed: dict[str, Any] = {name: parsed}
        chat.session.sampling = replace(chat.session.sampling, **changed)
    else:
        chat.session.max_tokens = None if parsed is None else int(parsed)
    return Outcome(f"`{name}` is {_say_value(parsed)}")


def _read_parameter(session: Session, name: str) -> float | None:
    value: float | None = getattr(session.sampling, name) if name in _SAMPLED else session.max_tokens
    return value


def _say_value(value: float | None) -> str:
    return "off" if value is None else str(value)


def _show(chat: Chat, argument: str) -> Outcome:
    shows = {"info": _show_info, "stats": _show_stats}
    if argument not in shows:
        raise UsageError("Write `/show info` or `/show stats`")
    return Outcome(shows[argument](chat.session))


def _show_info(session: Session) -> str:
    facts = dict(session.info())
    facts["system"] = session.system or "none"
    facts |= {name: _say_value(_read_parameter(session, name)) for name in PARAMETERS}
    width = max(map(len, facts)) + 2
    return "\n".join(f"{line(label):{width}}{line(value)}" for label, value in facts.items())


def _show_stats(session: Session) -> str:
    from localfirst.cli.views.words import say_stats

    return say_stats(session.last) if session.last else "There is no answer yet"


def _regenerate(chat: Chat, _: str) -> Outcome:
    if not any(message.role == "user" for message in chat.session.messages):
        raise UsageError("There is no question yet to answer again")
    return Outcome(then="answer again")


def _attach(chat: Chat, argument: str) -> Outcome:
    from localfirst.services.prompt import attach, read_text_file

    if not argument:
        raise UsageError("Write `/file PATH`")
    path = _find_path(argument)
    text = read_text_file(path)
    chat.attachments.append(attach(path.name, text))
    count = len(text.splitlines())
    return Outcome(f"{line(path.name)} goes with your next message ({count} line{'' if count == 1 else 's'})")


def _find_path(argument: str) -> Path:
    return paths.expand(argument.strip().strip("\"'"))


def _give(chat: Chat, argument: str) -> Outcome:
    waiting = find_waiting(chat.session.messages)
    if not waiting:
        raise UsageError("No call waits for a result")
    word, _, rest = argument.partition(" ")
    call = next((call for call in waiting if word in {call.id, call.name}), None)
    if call is None and len(waiting) == 1 and not _is_like(word, waiting[0].name):
        call, rest = waiting[0], argument
    if call is None or not rest.strip():
        raise UsageError(say_waiting(waiting))
    chat.session.answer_call(call, _read_result(rest.strip()))
    left = find_waiting(chat.session.messages)
    return Outcome(say_waiting(left)) if left else Outcome(then="answer again")


def _is_like(word: str, name: str) -> bool:
    """Whether a word was probably to be the name: it then is no result."""
    import difflib

    return bool(difflib.get_close_matches(word.lower(), [name.lower()], cutoff=0.7))


def _read_result(text: str) -> str:
    """A result as it is typed, or what is in the file after `<`."""
    from localfirst.services.prompt import read_text_file

    sign, _, path = text.partition(" ")
    return read_text_file(_find_path(path)) if sign == "<" and path.strip() else text


def say_waiting(calls: Sequence[ToolCall]) -> str:
    """Which calls wait for their results, and what to type."""
    names = [call.name for call in calls]
    labels = [call.name if names.count(call.name) == 1 else call.id for call in calls]
    ways = ", ".join(f"`/tool {line(label)} RESULT`" for label in labels)
    count = "the result of its call" if len(calls) == 1 else f"the results of {len(calls)} calls"
    return f"The model waits for {count}: {ways} (`< FILE` reads one from a file)"


COMMANDS = {
    "/help": Command((("/help", "Show this"),), _help),
    "/bye": Command((("/bye", "Leave"),), _leave),
    "/clear": Command((("/clear", "Forget the conversation"),), _clear),
    "/set": Command(
        (
            ("/set system TEXT", "Set the system text; without TEXT, remove it"),
            ("/set parameter NAME VALUE", "Change how words are drawn; without VALUE, show it"),
        ),
        _set,
        ("system", *(f"parameter {name}" for name in PARAMETERS)),
    ),
    "/show": Command(
        (("/show info", "Show what is loaded and set"), ("/show stats", "Show the speed of the last answer")),
        _show,
        ("info", "stats"),
    ),
    "/regen": Command((("/regen", "Answer the last question again"),), _regenerate),
    "/file": Command((("/file PATH", "Attach a text file to the next message"),), _attach),
    "/tool": Command(
        (
            ("/tool NAME RESULT", "Give the result of a call, named or by its id"),
            ("/tool NAME < FILE", "The same from a file"),
        ),
        _give,
    ),
}
"""Every command by its name, in the order of `/help`."""
KEYS = (
    ('"""', "Begin and end a message of several lines"),
    ("Ctrl-C", "Stop the answer; at the prompt, twice, leave"),
    ("Ctrl-D", "Leave"),
)
ALIASES = {"/?": "/help", "/exit": "/bye", "/quit": "/bye"}
"""What people type who come from elsewhere."""
