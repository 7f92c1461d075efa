"""How families of models write tool calls: a table of markers, and a reader for what stands between them.

Which row is a model's is read off its chat template; nothing here knows a model's name. A reader returns `None` for
what is no call: that is text then, and never lost.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localfirst.conversation import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Tools = Sequence[Mapping[str, Any]]
    Reader = Callable[[str, Tools], list[ToolCall] | None]

_JSON = json.JSONDecoder()
_NAME = re.compile(r"[\w.-]+")
_XML_FUNCTION = re.compile(r"\s*<function=([^>]+)>(.*?)</function>", re.DOTALL)
_XML_PARAMETER = re.compile(r"<parameter=([^>]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_INVOKED = re.compile(r"""<invoke name=["']?([^"'>]+)["']?\s*>(.*?)</invoke>""", re.DOTALL)
_INVOKE_PARAMETER = re.compile(r"""<parameter name=["']?([^"'>]+)["']?\s*>\n?(.*?)\n?</parameter>""", re.DOTALL)
_KEYED = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_MISTRAL = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\][^\[]*)?(?:\[ARGS\])?\s*(\{.*\})\s*", re.DOTALL)
_BAR = "\uff5c"
"""The wide bar in the markers of DeepSeek, which is not `|`."""
CALL, SEP, CALLED = (f"<{_BAR}tool\u2581{word}{_BAR}>" for word in ("call\u2581begin", "sep", "call\u2581end"))
CALLS, ALL_CALLED = (f"<{_BAR}tool\u2581calls\u2581{word}{_BAR}>" for word in ("begin", "end"))
_KIMI_CALLS = "<|tool_calls_section_begin|>"
_DEEPSEEK = re.compile(rf"{CALL}(?:function{SEP})?(.*?)(?:{SEP}|\n```json\n)(.*?){CALLED}", re.DOTALL)
_KIMI = re.compile(
    r"<\|tool_call_begin\|>\s*(?:functions\.)?([\w.-]+)(?::\d+)?\s*<\|tool_call_argument_begin\|>(.*?)<\|tool_call_end\|>",
    re.DOTALL,
)
_GEMMA_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.-]*)\s*:")


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a family of models writes calls."""

    name: str
    signs: tuple[str, ...]
    """Texts in a chat template, any of which gives the format away."""
    openings: tuple[str, ...]
    """What a call begins with, anywhere in an answer."""
    closings: tuple[str, ...]
    """What it ends with; the end of the answer ends it too."""
    read: Reader
    leading: tuple[str, ...] = ()
    """What a call also begins with, but only as an answer's first word; unlike an opening, it is part of the call."""
    special: tuple[str, ...] = ()
    """Further markers, inside of calls."""
    before_thinking: bool = False
    """Calls are written in markers of the same kind as thinking, so that they are looked for first."""


def read_json(body: str, _tools: Tools) -> list[ToolCall] | None:
    """Objects with a name and arguments, or a list of them; several in a row, with `;` between or nothing."""
    calls: list[ToolCall] = []
    position = 0
    body = body.strip()
    while position < len(body):
        try:
            value, position = _JSON.raw_decode(body, position)
        except (ValueError, RecursionError):
            return None
        for item in value if isinstance(value, list) else [value]:
            call = _make_call(item)
            if call is None:
                return None
            calls.append(call)
        while position < len(body) and body[position] in "; \n\r\t":
            position += 1
    return calls or None


def read_tagged(body: str, tools: Tools) -> list[ToolCall] | None:
    """What stands in a tag: JSON, or tags for the function and its parameters, or a name with keys and values."""
    if (function := _XML_FUNCTION.fullmatch(body.strip())) is not None:
        name, rest = function[1].strip(), function[2]
        found, left = _XML_PARAMETER.findall(rest), _XML_PARAMETER.sub("", rest)
        return None if left.strip() else [_make_typed(name, found, tools)]
    if "<arg_key>" in body or any(_find_function(tool).get("name") == body.strip() for tool in tools):
        name, found, left = body.partition("<arg_key>")[0].strip(), _KEYED.findall(body), _KEYED.sub("", body)
        return [_make_typed(name, found, tools)] if left.strip() == name and _NAME.fullmatch(name) else None
    return read_json(body, tools)


def read_python(body: str, _tools: Tools) -> list[ToolCall] | None:
    """Calls as Python writes them, with named literals: `[f(a=1), g(b="x")]`."""
    try:
        tree = ast.parse(body.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        calls = [_read_python_call(node) for node in nodes]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return calls or None


def read_llama(body: str, tools: Tools) -> list[ToolCall] | None:
    """JSON, or a built-in tool as Python calls it: `brave_search.call(query="x")`."""
    calls = read_json(body, tools)
    if calls is None and ".call(" in body:
        found = read_python(body, tools)
        calls = found and [ToolCall(call.name.removesuffix(".call"), call.arguments_json) for call in found]
    return calls


def read_mistral(body: str, tools: Tools) -> list[ToolCall] | None:
    """A list of calls as JSON; in newer models a name and its arguments, each with the marker before it."""
    if body.lstrip().startswith(("[{", "[ {")):
        return read_json(body, tools)
    matches = [_MISTRAL.fullmatch(part) for part in body.split("[TOOL_CALLS]")]
    return _make_all((match[1], match[2]) if match else None for match in matches)


def read_deepseek(body: str, _tools: Tools) -> list[ToolCall] | None:
    """Calls in markers of their own, the arguments plain or in a fence of Markdown's."""
    if _DEEPSEEK.sub("", body).strip():
        return None
    return _make_all((name.strip(), text.strip().removesuffix("```")) for name, text in _DEEPSEEK.findall(body))


def read_kimi(body: str, _tools: Tools) -> list[ToolCall] | None:
    """Calls in markers of their own, named by their ids: `functions.NAME:NUMBER`, the arguments after a marker."""
    return None if _KIMI.sub("", body).strip() else _make_all(_KIMI.findall(body))


def read_invoked(body: str, tools: Tools) -> list[ToolCall] | None:
    """Tags for each call and its parameters, with the names as attributes."""
    found = [(match[1].strip(), match[2]) for match in _INVOKED.finditer(body)]
    left = [_INVOKED.sub("", body), *(_INVOKE_PARAMETER.sub("", inside) for _, inside in found)]
    if not found or "".join(left).strip():
        return None
    return [_make_typed(name, _INVOKE_PARAMETER.findall(inside), tools) for name, inside in found]


def read_harmony(body: str, _tools: Tools) -> list[ToolCall] | None:
    """The recipient, what else the header says, and the message."""
    header, message, arguments = body.partition("<|message|>")
    name = _NAME.match(header.lstrip().removeprefix("to=").removeprefix("functions."))
    return _make_all([(name[0], arguments)] if name and message else [None])


def make_gemma_reader(quote: str) -> Reader:
    """A reader of `call:name{key:value}`, whose texts stand between two of `quote` and whose keys are bare."""

    def read(body: str, _tools: Tools) -> list[ToolCall] | None:
        name, brace, rest = body.strip().removeprefix("call:").partition("{")
        if not brace or not body.strip().startswith("call:"):
            return None
        parts = (brace + rest).split(quote)
        parts[::2] = [_GEMMA_KEY.sub(r'\1"\2":', part) for part in parts[::2]]
        parts[1::2] = [json.dumps(part) for part in parts[1::2]]
        return _make_all([(name.strip(), "".join(parts))])

    return read


FORMATS = (
    CallFormat(
        "harmony",
        ("<|channel|>",),
        (
            "<|channel|>commentary to=",
            "<|channel|>analysis to=",
            "<|start|>assistant to=",
            "<|start|>assistant<|channel|>commentary to=",
            "<|start|>assistant<|channel|>analysis to=",
        ),
        ("<|call|>",),
        read_harmony,
        leading=("to=",),
        special=("<|message|>", "<|constrain|>"),
        before_thinking=True,
    ),
    CallFormat(
        "gemma-4",
        ("<|tool_call>",),
        ("<|tool_call>",),
        ("<tool_call|>",),
        make_gemma_reader('<|"|>'),
        special=('<|"|>',),
    ),
    CallFormat(
        "gemma",
        ("<start_function_call>",),
        ("<start_function_call>",),
        ("<end_function_call>",),
        make_gemma_reader("<escape>"),
        special=("<escape>",),
    ),
    CallFormat("deepseek", (CALLS,), (CALLS,), (ALL_CALLED,), read_deepseek, special=(CALL + SEP + CALLED,)),
    CallFormat(
        "kimi",
        (_KIMI_CALLS, "tool_declare<|im_middle|>"),
        (_KIMI_CALLS,),
        ("<|tool_calls_section_end|>",),
        read_kimi,
        special=("<|tool_call_begin|><|tool_call_argument_begin|><|tool_call_end|>",),
    ),
    CallFormat("cohere", ("<|START_ACTION|>",), ("<|START_ACTION|>",), ("<|END_ACTION|>",), read_json),
    CallFormat("mistral", ("[TOOL_CALLS]",), ("[TOOL_CALLS]",), (), read_mistral, special=("[ARGS][CALL_ID]",)),
    CallFormat("granite", ("<|tool_call|>",), ("<|tool_call|>",), ("<|/tool_call|>",), read_json),
    CallFormat("phi", ("<|tool|>",), ("<|tool_call|>", "functools"), ("<|/tool_call|>",), read_json),
    CallFormat(
        "lfm",
        ("<|tool_call_start|>", "<|tool_list_start|>"),
        ("<|tool_call_start|>",),
        ("<|tool_call_end|>",),
        read_python,
    ),
    CallFormat("seed", ("<seed:tool_call>",), ("<seed:tool_call>",), ("</seed:tool_call>",), read_tagged),
    CallFormat(
        "minimax-m2", ("<minimax:tool_call>",), ("<minimax:tool_call>",), ("</minimax:tool_call>",), read_invoked
    ),
    CallFormat("minimax", ("<tool_calls>",), ("<tool_calls>",), ("</tool_calls>",), read_json),
    CallFormat("hermes", ("<tool_call>",), ("<tool_call>",), ("</tool_call>",), read_tagged),
    CallFormat(
        "llama",
        ("<|python_tag|>", '{"name": function name'),
        ("<|python_tag|>",),
        (),
        read_llama,
        leading=("{",),
    ),
)
"""The first with a sign that a template contains.

Sources: openai/harmony `docs/format.md`; the chat templates of google/gemma-4 and functiongemma, deepseek-ai/
DeepSeek-R1 and V3.1, mistralai/Mistral-Nemo and Mistral-Small-3.2, ibm-granite/granite-3.3, LiquidAI/LFM2,
microsoft/Phi-4-mini-instruct, ByteDance-Seed/Seed-OSS, meta-llama/Llama-3.1, CohereForAI/c4ai-command-r7b-12-2024;
`<tool_call>` in those of Qwen, Hermes, GLM and Granite 4; MoonshotAI/Kimi-K2, `docs/tool_call_guidance.md`;
MiniMax-AI/MiniMax-M1, `docs/function_call_guide.md`; MiniMax-AI/MiniMax-M2.5, `docs/tool_calling_guide.md`.
"""


def find_format(template: str | None) -> CallFormat | None:
    """How the model of this template writes calls, or `None` where nobody knows."""
    return next((row for row in FORMATS if template and any(sign in template for sign in row.signs)), None)


def _make_call(value: object) -> ToolCall | None:
    """A call from `{"name": ..., "arguments": {...}}`, the arguments also as text, absent, or called `parameters`.

    The name may be called `tool_name`.
    """
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        return None
    name = value.get("name", value.get("tool_name"))
    if not isinstance(name, str) or not name:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(name, _write(json.loads(text))) if _is_object(text) else None


def _make_all(parts: Sequence[tuple[str, str] | None] | Iterator[tuple[str, str] | None]) -> list[ToolCall] | None:
    """Calls from names and arguments, if each is one."""
    calls = []
    for part in parts:
        if part is None or not part[0] or not _is_object(part[1]):
            return None
        calls.append(ToolCall(part[0], _write(json.loads(part[1]))))
    return calls or None


def _make_typed(name: str, found: Sequence[tuple[str, str]], tools: Tools) -> ToolCall:
    """A call from plain texts: what its tool says is a text stays one, and else what is JSON is read as that."""
    offered = next((one for one in map(_find_function, tools) if one.get("name") == name), {})
    properties: Any = (offered.get("parameters") or {}).get("properties") or {}
    texts = {
        key
        for key, described in properties.items()
        if isinstance(described, dict) and described.get("type") == "string"
    }
    arguments = {key.strip(): text if key.strip() in texts else _read_value(text) for key, text in found}
    return ToolCall(name, _write(arguments))


def _find_function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a tool is, with or without OpenAI's envelope around it."""
    function: Mapping[str, Any] = tool.get("function", tool)
    return function


def _read_value(text: str) -> object:
    try:
        value = json.loads(text)
        _write(value)
    except (ValueError, RecursionError):
        return text
    return value


def _read_python_call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("no call with named literals")
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return ToolCall(ast.unparse(node.func), json.dumps(arguments, ensure_ascii=False, allow_nan=False))


def _is_object(text: str) -> bool:
    try:
        value = json.loads(text)
        _write(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _write(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
