import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.chat.call_formats import FORMATS, find_format
from localfirst.chat.calls import AnswerReader, CallSplitter
from localfirst.conversation import TextDelta, ToolCall

BY_NAME = {row.name: row for row in FORMATS}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}},
        },
    }
]
BAR = "\uff5c"


def deepseek(text):
    """`|x_y|` as DeepSeek writes it."""
    return text.replace("<|", f"<{BAR}").replace("|>", f"{BAR}>").replace("_", "\u2581")


def call(arguments, name="f"):
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False))


def join(pieces):
    """Neighbouring texts in one."""
    groups = itertools.groupby(pieces, key=lambda piece: isinstance(piece, str))
    return [piece for texts, group in groups for piece in (["".join(group)] if texts else group)]


def split(form, pieces, tools=TOOLS):
    splitter = CallSplitter(BY_NAME.get(form), tools)
    return join([out for piece in pieces for out in splitter.feed(piece)] + splitter.flush())


CALLS = [
    pytest.param(None, "<tool_call>{}</tool_call>", ["<tool_call>{}</tool_call>"], id="no-format"),
    pytest.param(
        "hermes",
        'Sure.\n<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call>\n<tool_call>{"name":"g"}</tool_call>',
        ["Sure.", call({"a": "é"}), call({}, "g")],
        id="qwen",
    ),
    pytest.param(
        "hermes",
        '<tool_call>{"name": "f", "arguments": "{\\"n\\": 1}"}</tool_call> x',
        [call({"n": 1}), "x"],
        id="arguments-as-text",
    ),
    pytest.param("hermes", '<tool_call>{"name": "f"}', [call({})], id="never-closed"),
    pytest.param(
        "hermes",
        "<tool_call>\n<function=f>\n<parameter=a>\n12\n</parameter>\n"
        "<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>",
        [call({"a": "12", "n": 3})],
        id="qwen-coder",
    ),
    pytest.param(
        "hermes",
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x y</arg_value>\n"
        "<arg_key>n</arg_key>\n<arg_value>3</arg_value></tool_call>",
        [call({"a": "x y", "n": 3})],
        id="glm",
    ),
    pytest.param(
        "seed",
        "<seed:tool_call><function=f><parameter=a>x</parameter></function></seed:tool_call>",
        [call({"a": "x"})],
        id="seed",
    ),
    pytest.param(
        "mistral",
        'Ok [TOOL_CALLS][{"name": "f", "arguments": {"n": 1}, "id": "x"}]',
        ["Ok", call({"n": 1})],
        id="mistral-list",
    ),
    pytest.param(
        "mistral",
        '[TOOL_CALLS]f[CALL_ID]x9[ARGS]{"n": 1}[TOOL_CALLS]g[ARGS]{}',
        [call({"n": 1}), call({}, "g")],
        id="mistral-args",
    ),
    pytest.param(
        "llama",
        '{"name": "f", "parameters": {"a": "x"}}; {"name": "g", "parameters": {}}',
        [call({"a": "x"}), call({}, "g")],
        id="llama",
    ),
    pytest.param("llama", '<|python_tag|>{"name": "f", "parameters": {}}', [call({})], id="llama-tagged"),
    pytest.param(
        "llama",
        '<|python_tag|>brave_search.call(query="x")',
        [call({"query": "x"}, "brave_search")],
        id="llama-built-in",
    ),
    pytest.param(
        "llama", 'Say {"name": "f", "parameters": {}}', ['Say {"name": "f", "parameters": {}}'], id="llama-quoted"
    ),
    pytest.param(
        "gemma",
        "<start_function_call>call:f{a:<escape>x, {y}: z<escape>,n:3,l:[1,<escape>b<escape>],o:{k:true}}"
        "<end_function_call>",
        [call({"a": "x, {y}: z", "n": 3, "l": [1, "b"], "o": {"k": True}})],
        id="gemma",
    ),
    pytest.param("gemma-4", 'Hi <|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|>', ["Hi", call({"a": "x"})], id="gemma-4"),
    pytest.param(
        "deepseek",
        deepseek("<|tool_calls_begin|><|tool_call_begin|>function<|tool_sep|>f\n```json\n")
        + '{"a": "x"}\n```'
        + deepseek("<|tool_call_end|>\n<|tool_call_begin|>g<|tool_sep|>{}<|tool_call_end|><|tool_calls_end|>"),
        [call({"a": "x"}), call({}, "g")],
        id="deepseek",
    ),
    pytest.param(
        "kimi",
        "Ok.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
        '{"a": "x"}<|tool_call_end|><|tool_call_begin|>functions.g:1 <|tool_call_argument_begin|> {}<|tool_call_end|>'
        "<|tool_calls_section_end|>",
        ["Ok.", call({"a": "x"}), call({}, "g")],
        id="kimi",
    ),
    pytest.param(
        "cohere",
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "f", "parameters": {"a": "x"}},\n'
        '    {"tool_call_id": "1", "tool_name": "g", "parameters": {}}\n]<|END_ACTION|>',
        [call({"a": "x"}), call({}, "g")],
        id="cohere",
    ),
    pytest.param(
        "minimax",
        'Ok.\n<tool_calls>\n{"name": "f", "arguments": {"a": "x"}}\n{"name": "g", "arguments": {}}\n</tool_calls>',
        ["Ok.", call({"a": "x"}), call({}, "g")],
        id="minimax-m1",
    ),
    pytest.param(
        "minimax-m2",
        'Ok.\n<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">["12"]</parameter>\n'
        '<parameter name="n">3</parameter>\n<parameter name="l">["\\"x\\" y"]</parameter>\n</invoke>\n'
        '<invoke name="g">\n</invoke>\n</minimax:tool_call>',
        ["Ok.", call({"a": '["12"]', "n": 3, "l": ['"x" y']}), call({}, "g")],
        id="minimax-m2",
    ),
    pytest.param("granite", '<|tool_call|>[{"name": "f", "arguments": {"n": 1}}]', [call({"n": 1})], id="granite"),
    pytest.param("phi", '<|tool_call|>[{"name": "f", "arguments": {}}]<|/tool_call|>', [call({})], id="phi"),
    pytest.param("phi", 'functools[{"name": "f", "arguments": {"n": 1}}]', [call({"n": 1})], id="phi-functools"),
    pytest.param("phi", "import functools\nx", ["import functools\nx"], id="phi-a-word-in-code"),
    pytest.param(
        "lfm",
        '<|tool_call_start|>[f(a="x", n=3), g()]<|tool_call_end|>',
        [call({"a": "x", "n": 3}), call({}, "g")],
        id="lfm",
    ),
    pytest.param(
        "harmony",
        '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"n": 1}<|call|>',
        [call({"n": 1})],
        id="harmony",
    ),
    pytest.param(
        "harmony",
        ' to=functions.f<|channel|>commentary json<|message|>{"n": 1}',
        [call({"n": 1})],
        id="harmony-recipient-first",
    ),
]
MALFORMED = [
    ("hermes", "a <tool_call>oops</tool_call> b"),
    ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"n": NaN}}</tool_call>'),
    ("hermes", '<tool_call>{"arguments": {}}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f"'),
    ("hermes", "<tool_call>" + "[" * 3000 + "</tool_call>"),
    ("mistral", "[TOOL_CALLS] none"),
    ("llama", '{"just": "json"}'),
    ("llama", "<|python_tag|>print(1)"),
    ("gemma", "<start_function_call>call:f{a:b}<end_function_call>"),
    ("lfm", "<|tool_call_start|>[f(open('x'))]<|tool_call_end|>"),
    ("lfm", "<|tool_call_start|>" + "(" * 3000 + "<|tool_call_end|>"),
    ("harmony", "<|channel|>commentary to=functions.f<|message|>x<|call|>"),
    ("kimi", "<|tool_calls_section_begin|>f<|tool_calls_section_end|>"),
    ("kimi", "<|tool_calls_section_begin|><|tool_call_begin|>f:0<|tool_call_argument_begin|>[]<|tool_call_end|>"),
    ("cohere", '<|START_ACTION|>[{"tool_call_id": "0", "parameters": {}}]<|END_ACTION|>'),
    ("minimax", "<tool_calls>none</tool_calls>"),
    ("minimax-m2", '<minimax:tool_call><invoke name="f">x</invoke></minimax:tool_call>'),
    ("minimax-m2", "<minimax:tool_call></minimax:tool_call>"),
]


@pytest.mark.parametrize(("form", "text", "parts"), CALLS)
def test_calls_come_out_of_the_text(form, text, parts):
    assert split(form, [text]) == parts


@pytest.mark.parametrize(("form", "text", "parts"), CALLS)
def test_character_by_character_gives_the_same(form, text, parts):
    assert split(form, list(text)) == parts


@pytest.mark.parametrize(("form", "text"), MALFORMED)
def test_what_is_no_call_is_text_and_never_lost(form, text):
    assert split(form, [text]) == split(form, list(text)) == [text]


PIECES = st.sampled_from(
    [
        " ",
        "\n",
        "word",
        "{",
        "}",
        '{"name": "f", "arguments": {}}',
        "call:f{}",
        "f()",
        "f[ARGS]{}",
        "<|message|>{}",
        "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
        '<invoke name="f"><parameter name="a">1</parameter></invoke>',
        '[{"tool_name": "f", "parameters": {}}]',
        "<",
        "é",
    ]
    + [marker for row in FORMATS for marker in (*row.openings, *row.closings, *row.leading)]
)


@given(st.sampled_from([None, *BY_NAME]), st.lists(PIECES, max_size=10).map("".join), st.data())
def test_any_cut_of_the_text_gives_the_same(form, text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    assert split(form, pieces) == split(form, [text])


@given(st.sampled_from([*BY_NAME]), st.text())
def test_text_without_a_call_comes_through_whole(form, text):
    assert "".join(split(form, list(text))) == text


def test_text_that_cannot_be_a_call_is_not_held_back():
    splitter = CallSplitter(BY_NAME["hermes"])
    assert splitter.feed("Hello") == ["Hello"]
    assert splitter.feed(" <b> <tool") == [" <b>"]
    assert splitter.feed("box>") == [" <toolbox>"]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (None, None),
        ("{{ messages }}", None),
        ("{{ '<tool_call>' }}", "hermes"),
        ("{{ '[TOOL_CALLS]' }}", "mistral"),
        ("{{ '<|tool|>' + tools }}", "phi"),
        ("{{ '<|channel|>' }} <tool_call>", "harmony"),
        ("<|im_system|>tool_declare<|im_middle|>", "kimi"),
        ("<|START_ACTION|>[", "cohere"),
        ("<minimax:tool_call>", "minimax-m2"),
        ("respond with <tool_calls></tool_calls> XML tags", "minimax"),
        ('Respond in the format {"name": function name, "parameters": ...}', "llama"),
    ],
)
def test_the_template_gives_the_format_away(template, name):
    form = find_format(template)
    assert (form and form.name) == name


def read(template, text, tools=TOOLS):
    reader = AnswerReader(template, "", tools)
    pieces = [piece for character in text for piece in reader.feed(character)] + reader.flush()
    groups = itertools.groupby(pieces, key=lambda piece: (type(piece), getattr(piece, "reasoning", None)))
    return [
        part
        for (kind, reasoning), group in groups
        for part in ([TextDelta("".join(one.text for one in group), reasoning)] if kind is TextDelta else group)
    ]


def test_a_call_after_thinking_is_one_and_a_call_in_thinking_is_none():
    asked = '<tool_call>{"name": "f"}</tool_call>'
    text = f"<think>maybe {asked}</think>\n\nOk.{asked}"
    assert read("</think> <tool_call>", text) == [
        TextDelta(f"maybe {asked}", reasoning=True),
        TextDelta("Ok."),
        ToolCall("f", "{}"),
    ]


def test_harmony_s_channels_are_thinking_answer_and_calls():
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f "
        '<|constrain|>json<|message|>{"n": 1}<|call|><|start|>assistant<|channel|>final<|message|>Done'
    )
    assert read("<|channel|>", text) == [TextDelta("hm", reasoning=True), ToolCall("f", '{"n": 1}'), TextDelta("Done")]


def test_cohere_s_plan_is_thinking_and_its_response_the_answer():
    plan = "<|START_THINKING|>I will look.<|END_THINKING|>"
    action = '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {}}]<|END_ACTION|>'
    template = "<|START_THINKING|> <|START_ACTION|>"
    assert read(template, plan + action) == [TextDelta("I will look.", reasoning=True), ToolCall("f", "{}")]
    said = "<|START_RESPONSE|>It is warm.<|END_RESPONSE|>"
    assert read(template, plan + said)[1:] == read(template, said) == [TextDelta("It is warm.")]


def test_without_tools_nothing_is_a_call():
    text = '<tool_call>{"name": "f"}</tool_call>'
    assert read("<tool_call>", text, tools=()) == [TextDelta(text)]


def test_special_tokens_that_carry_markers_are_asked_for():
    assert AnswerReader("<|channel|>", "").special == (
        "<|channel|>",
        "<|message|>",
        "<|end|>",
        "<|return|>",
        "<|start|>",
    )
    assert AnswerReader("[TOOL_CALLS]", "", TOOLS).special == ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
    assert AnswerReader("{{ messages }}", "", TOOLS).special == ()
