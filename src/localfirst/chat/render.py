"""A conversation to the prompt that a model was trained on, through the chat template in the model's own files.

Knows no engine and no model family. A template may loop for ever, so this belongs in a process that can be killed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from localfirst.chat import turns
from localfirst.chat.call_writing import find_writing
from localfirst.chat.sandbox import MAX_SIZE, RaisedError, TooLargeError, compile_template
from localfirst.conversation import Message
from localfirst.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FALLBACK_NAME = "ChatML"
FALLBACK_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML, for an artefact that carries no template: the layout most instruct models know.

Source: openai/openai-python, `chatml.md` at v0.28.
"""
FALLBACK_STOP = ("<|im_end|>", "<|im_start|>")
"""What ends an answer under `FALLBACK_TEMPLATE`, since such a model may not know these as its end token."""
MESSAGE_TOOLS = "message['tools']"
"""In templates that look for the tools in the system message, as a text. Source: microsoft/Phi-4-mini-instruct."""
OTHER_MODEL = "Take another model; of those in the catalog, Qwen, Granite and Llama 3 know them"
_MAX_WORDS = 2000
"""Characters of a template's own words that an error carries."""
_PROBE = "Xk7qSystemProbe"


def render(  # noqa: PLR0913 - a conversation and what a template sees beside it
    template: str,
    messages: Sequence[Message],
    *,
    bos_token: str,
    eos_token: str,
    now: datetime | None = None,
    options: Mapping[str, object] = {},
    tools: Sequence[Mapping[str, object]] = (),
    shape: turns.Shape = turns.SHAPES[0],
) -> str:
    """The prompt for the assistant's next turn, with the tools that the model may call.

    `now` is what `strftime_now` tells the template (default: this machine's local time); `options` are further names
    that the template sees, such as `enable_thinking`; `shape` is how it is handed calls of the turns before.

    Raises:
        TemplateError: the template has a syntax error, raised an exception of its own, did what the sandbox refuses,
            or grew past `MAX_SIZE` characters. The detail has the template's or Jinja's own words.
    """
    moment = now or datetime.now(tz=UTC).astimezone()
    context = {
        "messages": turns.describe(messages, shape),
        "tools": list(tools) or None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "strftime_now": moment.strftime,
        **options,
    }
    if tools and MESSAGE_TOOLS in template:
        context["messages"] = _put_into_message(messages, json.dumps(tools, ensure_ascii=False), shape)
    return _guard(lambda: _join(compile_template(template).generate(context)))


def _put_into_message(messages: Sequence[Message], tools: str, shape: turns.Shape) -> list[dict[str, object]]:
    """The conversation with tools as a text in its system message, which is there or is put first."""
    first = () if any(message.role == "system" for message in messages) else (Message("system", ""),)
    given = turns.describe((*first, *messages), shape)
    return [message | {"tools": tools} if message["role"] == "system" else message for message in given]


def render_chat(  # noqa: PLR0913 - as `render`
    template: str,
    messages: Sequence[Message],
    *,
    bos_token: str,
    eos_token: str,
    now: datetime | None = None,
    options: Mapping[str, object] = {},
    tools: Sequence[Mapping[str, object]] = (),
    model: str = "This model",
) -> str:
    """As `render`, for any conversation, whatever its template has no place for or takes in its own way only.

    Gemma's template raises at a system message, others drop it without a word; in both cases the user's instruction
    would be lost: there the system text leads the first user message. Calls and results are shaped as the template
    wants them. What it does with each is found by trying it on a probe, once for each template. `model` is what people
    call it, for errors.

    Raises:
        TemplateError: as `render`; or the template takes no notice of the tools, or has no place for calls and results.
    """
    now = now or datetime.now(tz=UTC).astimezone()
    shape = turns.SHAPES[0]
    if turns.has_tool_turns(messages):
        messages, shape = _fit_tool_turns(
            template, messages, offered=bool(tools), model=model, bos_token=bos_token, eos_token=eos_token
        )
    has_system = any(message.role == "system" for message in messages)
    if has_system and not accepts_system(template, bos_token=bos_token, eos_token=eos_token):
        messages = merge_system(messages)
    write = partial(render, template, messages, bos_token=bos_token, eos_token=eos_token, now=now, options=options)
    write = partial(write, shape=shape)
    prompt = write(tools=tools)
    if tools and not _differs(prompt, write):
        raise TemplateError(f"{model} knows no tools: its chat template has no place for them", hint=OTHER_MODEL)
    return prompt


def _fit_tool_turns(
    template: str, messages: Sequence[Message], *, offered: bool, model: str, **tokens: str
) -> tuple[tuple[Message, ...], turns.Shape]:
    """The conversation as this template takes it, and the shape of its calls."""
    shape = find_shape(template, offered=offered, **tokens)
    messages = turns.fit_ids(messages, template)
    if shape is not None:
        several = any(len(message.tool_calls) > 1 for message in messages)
        if several and find_shape(template, offered=offered, calls=2, **tokens) is None:
            messages = turns.split_calls(messages)
        return tuple(messages), shape
    writing = find_writing(template)
    if writing is None or not accepts_results(template, **tokens):
        raise TemplateError(
            f"{model} knows no calls and results of tools: its chat template has no place for them", hint=OTHER_MODEL
        )
    return turns.write_out(messages, writing), turns.SHAPES[0]


@lru_cache(maxsize=16)
def find_shape(template: str, *, bos_token: str, eos_token: str, offered: bool, calls: int = 1) -> turns.Shape | None:
    """The first shape in which a template writes calls and their results into the prompt, or `None`.

    `offered` is whether there are tools for the model to call, `calls` how many an answer has.
    """
    tools = (turns.PROBE_TOOL,) if offered else ()
    attempt = partial(_attempt, template, bos_token=bos_token, eos_token=eos_token, tools=tools)
    plain = attempt((Message("user", "x"),)) or ""
    probe = turns.fit_ids(turns.make_probe(calls), template)
    tried = ((shape, attempt(probe, shape=shape)) for shape in turns.SHAPES)
    return next((shape for shape, prompt in tried if prompt and turns.is_shown(prompt, plain, calls)), None)


@lru_cache(maxsize=8)
def accepts_results(template: str, *, bos_token: str, eos_token: str) -> bool:
    """Whether a result's text reaches the prompt, where the calls do not."""
    user, _, result = turns.make_probe()
    prompt = _attempt(template, (user, Message("assistant", "x"), result), bos_token=bos_token, eos_token=eos_token)
    return prompt is not None and result.content in prompt


def _attempt(template: str, messages: Sequence[Message], **given: Any) -> str | None:
    """The prompt, or `None` where the template fails."""
    try:
        return render(template, messages, **given)
    except TemplateError:
        return None


@lru_cache(maxsize=8)
def accepts_system(template: str, *, bos_token: str, eos_token: str) -> bool:
    """Whether a system message's text reaches the prompt.

    Also true where the template fails without one as well: then the system message is not what is wrong.
    """
    user = Message("user", "x")
    attempt = partial(_attempt, template, bos_token=bos_token, eos_token=eos_token)
    prompt = attempt((Message("system", _PROBE), user))
    return (prompt is not None and _PROBE in prompt) or attempt((user,)) is None


def merge_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same conversation without system messages: their text leads the first user message, a blank line between.

    Without a user message, the system text becomes one.
    """
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    turns = [message for message in messages if message.role != "system"]
    first_user = next((index for index, message in enumerate(turns) if message.role == "user"), None)
    if not system:
        return tuple(turns)
    if first_user is None:
        return (Message("user", system), *turns)
    merged = Message("user", f"{system}\n\n{turns[first_user].content}")
    return (*turns[:first_user], merged, *turns[first_user + 1 :])


def _differs(prompt: str, write: Callable[[], str]) -> bool:
    """Whether a prompt is another without its tools; some templates fail then."""
    try:
        return prompt != write()
    except TemplateError:
        return True


def _join(pieces: Iterable[str]) -> str:
    """The output as one text, stopping a template that puts out more and more."""
    kept: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_SIZE:
            raise TooLargeError
        kept.append(piece)
    return "".join(kept)


def _guard(run: Callable[[], str]) -> str:
    """Run foreign template code; whatever it provokes becomes a `TemplateError`."""
    from jinja2.exceptions import SecurityError, TemplateSyntaxError

    try:
        return run()
    except RaisedError as error:
        raise _fail("The model's chat template refused this conversation", error) from None
    except TemplateSyntaxError as error:
        raise _fail(f"The model's chat template has a syntax error in line {error.lineno}", error.message) from None
    except SecurityError as error:
        raise _fail("The model's chat template tried what the sandbox does not allow", error) from None
    except (TooLargeError, MemoryError, OverflowError) as error:
        raise _fail("The model's chat template grows without end", str(error) or "out of memory") from None
    except RecursionError as error:
        raise _fail("The model's chat template calls itself without end", error) from None
    except Exception as error:  # a template is foreign code: any exception that Python has may come out of it
        raise _fail("The model's chat template failed", f"{type(error).__name__}: {error}") from error


def _fail(message: str, words: object) -> TemplateError:
    return TemplateError(message, detail=str(words)[:_MAX_WORDS] or None)
