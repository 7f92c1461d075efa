"""Calls as the text that a model writes them in: the other way round of `call_formats`.

For what the model is to write itself, word for word but for a name and arguments, and for templates that have no place
for the calls of the turns before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localfirst.chat import call_formats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localfirst.conversation import ToolCall

_NUMBER = "{number}"


@dataclass(frozen=True, slots=True)
class Writing:
    """What stands before the name of a call, between the name and the arguments, and after them.

    `{number}` is how many calls there were before.
    """

    before: str
    between: str
    after: str
    thinking_end: str | None = None
    """What ends the thinking before a call, where that is not what ends the thinking before an answer."""
    resume: str = ""
    """What stands between the end of the thinking and the call."""
    spell: Callable[[str], str] | None = None
    """How arguments are written where that is not JSON; a model cannot be held to such ones."""

    def at(self, number: int) -> Writing:
        """The same for a call after so many others."""
        return replace(
            self,
            before=self.before.replace(_NUMBER, str(number)),
            between=self.between.replace(_NUMBER, str(number)),
        )

    def write(self, call: ToolCall, number: int) -> str:
        """One call."""
        one = self.at(number)
        arguments = self.spell(call.arguments_json) if self.spell else call.arguments_json
        return f"{one.before}{call.name}{one.between}{arguments}{one.after}"


def _spell_python(arguments_json: str) -> str:
    """Arguments as Python writes named literals."""
    return ", ".join(f"{name}={value!r}" for name, value in json.loads(arguments_json).items())


def _object(before: str, after: str, *, name: str = '"name"', arguments: str = '"arguments"') -> Writing:
    """A call as a JSON object between two markers."""
    return Writing(f'{before}{{{name}: "', f'", {arguments}: ', f"}}{after}")


_DEEPSEEK_BEGIN = call_formats.CALLS + call_formats.CALL
_DEEPSEEK_END = call_formats.CALLED + call_formats.ALL_CALLED

WRITINGS: Mapping[str, tuple[tuple[str, Writing | None], ...]] = {
    "harmony": (
        (
            "",
            Writing(
                "<|channel|>commentary to=functions.",
                " <|constrain|>json<|message|>",
                "<|call|>",
                thinking_end="<|end|>",
                resume="<|start|>assistant",
            ),
        ),
    ),
    "deepseek": (
        ("```json", Writing(f"{_DEEPSEEK_BEGIN}function{call_formats.SEP}", "\n```json\n", f"\n```{_DEEPSEEK_END}")),
        ("", Writing(_DEEPSEEK_BEGIN, call_formats.SEP, _DEEPSEEK_END)),
    ),
    "kimi": (
        (
            "",
            Writing(
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.",
                f":{_NUMBER}<|tool_call_argument_begin|>",
                "<|tool_call_end|><|tool_calls_section_end|>",
            ),
        ),
    ),
    "cohere": (
        (
            "",
            Writing(
                f'<|START_ACTION|>[\n    {{"tool_call_id": "{_NUMBER}", "tool_name": "',
                '", "parameters": ',
                "}\n]<|END_ACTION|>",
            ),
        ),
    ),
    "mistral": (
        ("[CALL_ID]", Writing("[TOOL_CALLS]", f"[CALL_ID]00000000{_NUMBER}[ARGS]", "")),
        ("[ARGS]", Writing("[TOOL_CALLS]", "[ARGS]", "")),
        ("", _object("[TOOL_CALLS][", "]")),
    ),
    "granite": (("", _object("<|tool_call|>[", "]")),),
    "phi": (("", _object("<|tool_call|>[", "]<|/tool_call|>")),),
    "lfm": (("", Writing("<|tool_call_start|>[", "(", ")]<|tool_call_end|>", spell=_spell_python)),),
    "minimax": (("", _object("<tool_calls>\n", "\n</tool_calls>")),),
    "hermes": (
        ("<function=", None),
        ("<arg_key>", None),
        ("", _object("<tool_call>\n", "\n</tool_call>")),
    ),
    "llama": (("", _object("", "", arguments='"parameters"')),),
}
"""How each format is written, the first whose sign the template contains; `None`, and those that are not here: they
need no writing, since their templates have a place for calls, and allow no holding, since their arguments are no JSON.

Sources: as of `call_formats.FORMATS`; deepseek-ai/DeepSeek-V3.1, `assets/chat_template.jinja`, has no fence.
"""


def find_writing(template: str) -> Writing | None:
    """How the model of this template writes a call, or `None` where nothing here can write one."""
    form = call_formats.find_format(template)
    rows = WRITINGS.get(form.name, ()) if form is not None else ()
    return next((writing for sign, writing in rows if sign in template), None)
