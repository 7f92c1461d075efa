"""A conversation to the prompt that a model was trained on, through the chat template in the model's own files.

Knows no engine and no model family. A template may loop for ever, so this belongs in a process that can be killed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

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
) -> str:
    """The prompt for the assistant's next turn, with the tools that the model may call.

    `now` is what `strftime_now` tells the template (default: this machine's local time); `options` are further names
    that the template sees, such as `enable_thinking`.

    Raises:
        TemplateError: the template has a syntax error, raised an exception of its own, did what the sandbox refuses,
            or grew past `MAX_SIZE` characters. The detail has the template's or Jinja's own words.
    """
    moment = now or datetime.now(tz=UTC).astimezone()
    context = {
        "messages": [asdict(message) for message in messages],
        "tools": list(tools) or None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "strftime_now": moment.strftime,
        **options,
    }
    if tools and MESSAGE_TOOLS in template:
        context["messages"] = _put_into_message(messages, json.dumps(tools, ensure_ascii=False))
    return _guard(lambda: _join(compile_template(template).generate(context)))


def _put_into_message(messages: Sequence[Message], tools: str) -> list[dict[str, object]]:
    """The conversation with tools as a text in its system message, which is there or is put first."""
    first = () if any(message.role == "system" for message in messages) else (Message("system", ""),)
    given = [asdict(message) for message in (*first, *messages)]
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
) -> str:
    """As `render`, for templates without a system role too: there the system text leads the first user message.

    Gemma's template raises at a system message, others drop it without a word; in both cases the user's instruction
    would be lost. What the template does with one is found by trying it on a probe, once for each template.

    Raises:
        TemplateError: as `render`; or the template takes no notice of the tools.
    """
    now = now or datetime.now(tz=UTC).astimezone()
    has_system = any(message.role == "system" for message in messages)
    if has_system and not accepts_system(template, bos_token=bos_token, eos_token=eos_token):
        messages = merge_system(messages)
    write = partial(render, template, messages, bos_token=bos_token, eos_token=eos_token, now=now, options=options)
    prompt = write(tools=tools)
    if tools and not _differs(prompt, write):
        raise TemplateError(
            "This model knows no tools: its chat template has no place for them",
            hint="Take another model; of those in the catalog, Qwen, Granite and Llama 3 know them",
        )
    return prompt


@lru_cache(maxsize=8)
def accepts_system(template: str, *, bos_token: str, eos_token: str) -> bool:
    """Whether a system message's text reaches the prompt.

    Also true where the template fails without one as well: then the system message is not what is wrong.
    """
    user = Message("user", "x")

    def try_probe(*messages: Message) -> str | None:
        try:
            return render(template, messages, bos_token=bos_token, eos_token=eos_token)
        except TemplateError:
            return None

    prompt = try_probe(Message("system", _PROBE), user)
    return (prompt is not None and _PROBE in prompt) or try_probe(user) is None


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
