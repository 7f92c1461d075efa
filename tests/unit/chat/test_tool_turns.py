"""Calls and results of turns before, as chat templates of several families want them."""

import json
from pathlib import Path

import pytest

from localfirst.chat import render as chat
from localfirst.chat import turns
from localfirst.chat.call_formats import FORMATS, find_format
from localfirst.chat.call_writing import WRITINGS, Writing, find_writing
from localfirst.chat.calls import CallSplitter
from localfirst.conversation import Message, ToolCall, ToolChoice, find_waiting
from localfirst.errors import TemplateError

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
ASK = Message("user", "Weather?")
CALL = ToolCall("get_weather", '{"city": "Köln", "days": 2}', "abcdefgh1")
OTHER = ToolCall("get_time", "{}", "abcdefgh2")
CALLED = Message("assistant", "", (CALL,))
RESULT = Message("tool", "21°C", tool_call_id="abcdefgh1", name="get_weather")
TALK = (ASK, CALLED, RESULT)
TOOLS = ({"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}},)
BOTH = (
    ASK,
    Message("assistant", "Both.", (CALL, OTHER)),
    RESULT,
    Message("tool", "12:00", tool_call_id="abcdefgh2", name="get_time"),
)

# Each in the manner of a family, as short as it can be with what matters.
QWEN = """{% for m in messages %}
{%- if m.role == 'tool' %}<tool_response>{{ m.content }}</tool_response>
{%- else %}<|{{ m.role }}|>{% if m.content %}{{ m.content }}{% endif %}
{%- for call in m.tool_calls %}{% set call = call.function %}<tool_call>
{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}{% endfor %}"""
DEEPSEEK = """{% for m in messages %}
{%- if m['role'] == 'assistant' and m['tool_calls'] %}{% for tool in m['tool_calls'] %}
{{- tool['type'] + ':' + tool['function']['name'] + '\\n```json\\n' + tool['function']['arguments'] + '\\n```' }}
{%- endfor %}{% endif %}
{%- if m['role'] == 'assistant' and m['content'] is not none %}<A>{{ m['content'] }}{% endif %}
{%- if m['role'] == 'tool' %}{{ '<out>' + m['content'] }}{% endif %}{% endfor %}"""
MISTRAL = """{% for m in messages | rejectattr('role', 'equalto', 'tool') | selectattr('tool_calls', 'undefined') %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}{% endfor %}
{%- for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]
{%- elif m.tool_calls is defined %}[TOOL_CALLS][{% for call in m.tool_calls %}{% if call.id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}{% endfor %}]
{%- elif m['role'] == 'tool' %}[TOOL_RESULTS]{"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}
{%- else %}{{ m['content'] }}{% endif %}{% endfor %}"""
KIMI = """{% for m in messages %}<|im_middle|>{% if m['content'] is string %}{{ m['content'] }}
{%- else %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endif %}
{%- if m['tool_calls'] %}<|tool_calls_section_begin|>{% for call in m['tool_calls'] %}<|tool_call_begin|>
{{- call['id'] }}
{%- set arguments = call['function']['arguments'] %}<|tool_call_argument_begin|>
{{- arguments if arguments is string else arguments | tojson }}<|tool_call_end|>{% endfor %}{% endif %}
{%- if m['role'] == 'tool' %}## Return of {{ m['tool_call_id'] }}{% endif %}{% endfor %}"""
MINIMAX = """{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for call in m.tool_calls %}<minimax:tool_call>
<invoke name="{{ call.function.name }}">
{%- for k, v in call.function.arguments | items %}<parameter name="{{ k }}">{{ v }}</parameter>{% endfor %}</invoke>
{%- endfor %}{% endfor %}"""
LLAMA = """{# '{"name": function name' #}{% for m in messages %}{% if 'tool_calls' in m %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('only supports single tool-calls at once!') }}{% endif %}
{%- set call = m.tool_calls[0].function %}{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}
{%- elif m.role == 'tool' %}<ipython>{{ m.content | tojson }}
{%- else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}"""
LFM = "{# <|tool_list_start|> #}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
NO_PLACE = (chat.FALLBACK_TEMPLATE, (Path(__file__).parent / "templates" / "gemma.jinja").read_text("utf-8"))
PHI = """{% for m in messages %}{% if m['role'] == 'system' and 'tools' in m and m['tools'] is not none %}
{{- '<|system|>' + m['content'] + '<|tool|>' + m['tools'] + '<|/tool|><|end|>' }}{% else %}
{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endif %}{% endfor %}"""


OFFER = "{% if tools %}{{ tools | tojson }}{% endif %}"


def render(template, messages=TALK, tools=TOOLS, **options):
    return chat.render_chat(
        template if template in NO_PLACE else OFFER + template, messages, **TOKENS, tools=tools, **options
    )


@pytest.mark.parametrize(
    ("template", "written"),
    [
        pytest.param(
            QWEN,
            '<|assistant|><tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln", "days": 2}}\n</tool_call>'
            "<tool_response>21°C</tool_response>",
            id="qwen",
        ),
        pytest.param(
            DEEPSEEK,
            'function:get_weather\n```json\n{"city": "Köln", "days": 2}\n```<out>21°C',
            id="deepseek-wants-a-text-and-no-content",
        ),
        pytest.param(
            MISTRAL,
            '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Köln", "days": 2}, "id": "abcdefgh1"}]'
            '[TOOL_RESULTS]{"content": 21°C, "call_id": "abcdefgh1"}',
            id="mistral",
        ),
        pytest.param(
            KIMI,
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
            '{"city": "Köln", "days": 2}<|tool_call_end|><|im_middle|>21°C## Return of functions.get_weather:0',
            id="kimi-names-calls-by-their-ids",
        ),
        pytest.param(
            MINIMAX,
            '<assistant><minimax:tool_call>\n<invoke name="get_weather"><parameter name="city">Köln</parameter>'
            '<parameter name="days">2</parameter></invoke><tool>21°C',
            id="minimax-writes-what-is-not-there",
        ),
        pytest.param(
            LLAMA,
            '{"name": "get_weather", "parameters": {"city": "Köln", "days": 2}}<ipython>"21°C"',
            id="llama",
        ),
        pytest.param(
            PHI,
            '<|assistant|><|tool_call|>[{"name": "get_weather", "arguments": {"city": "Köln", "days": 2}}]'
            "<|/tool_call|><|end|><|tool|>21°C<|end|>",
            id="phi-has-no-place-for-calls",
        ),
        pytest.param(
            LFM,
            "<assistant><|tool_call_start|>[get_weather(city='Köln', days=2)]<|tool_call_end|><tool>21°C",
            id="lfm-has-none-either",
        ),
    ],
)
@pytest.mark.parametrize("tools", [TOOLS, ()], ids=["tools", "no-tools"])
def test_calls_and_results_are_written_as_each_template_wants_them(template, written, tools):
    assert written in render(template, tools=tools)


def test_a_template_that_takes_one_call_at_a_time_gets_each_with_its_result():
    prompt = render(LLAMA, BOTH, tools=())
    order = ["<user>Weather?", "<assistant>Both.", '"get_weather"', '<ipython>"21°C"', '"get_time"', '<ipython>"12:00"']
    assert [prompt.index(text) for text in order] == sorted(prompt.index(text) for text in order)
    assert prompt.count("get_time") == 1


def test_one_that_takes_several_gets_them_together():
    assert render(QWEN, BOTH).count("<|assistant|>") == 1


@pytest.mark.parametrize("ids", [("call_1", "call_2"), ("abcdefgh1", "abcdefgh2"), ("a" * 40, "b" * 40)])
def test_ids_from_elsewhere_become_what_the_template_takes(ids):
    first, second = (ToolCall("f", "{}", one) for one in ids)
    results = [Message("tool", str(number), tool_call_id=one, name="f") for number, one in enumerate(ids)]
    talk = (ASK, Message("assistant", "", (first, second)), *results)
    prompt = render(MISTRAL, talk, tools=())
    assert prompt == render(MISTRAL, talk, tools=())
    found = [prompt.split('"id": "')[part][:9] for part in (1, 2)]
    assert found == [prompt.split('"call_id": "')[part][:9] for part in (1, 2)]
    assert len(set(found)) == 2
    assert ids[0] not in prompt or ids == ("abcdefgh1", "abcdefgh2")


@pytest.mark.parametrize("template", NO_PLACE, ids=["fallback", "gemma"])
def test_a_template_without_a_place_for_results_is_an_error_that_names_the_model(template):
    with pytest.raises(TemplateError, match="Tiny 1B knows no calls and results") as caught:
        render(template, tools=(), model="Tiny 1B")
    assert caught.value.hint
    with pytest.raises(TemplateError, match="Tiny 1B knows no tools"):
        render(template, (ASK,), model="Tiny 1B")


def test_what_a_message_has_not_its_template_does_not_see():
    plain = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "Sun."}]
    assert turns.describe((ASK, Message("assistant", "Sun.")), turns.SHAPES[0]) == plain


def test_who_had_to_call_a_tool_may_answer_its_result_in_words():
    choice = ToolChoice("required", "f", parallel=False)
    assert choice.find_for(ASK) == choice
    assert choice.find_for(RESULT) == ToolChoice("auto", parallel=False)
    assert ToolChoice("none").find_for(RESULT) == ToolChoice("none")


def test_calls_wait_until_each_has_its_result():
    assert find_waiting(()) == find_waiting((ASK,)) == ()
    assert find_waiting(BOTH[:2]) == (CALL, OTHER)
    assert find_waiting(BOTH[:3]) == (OTHER,)
    assert find_waiting(BOTH) == find_waiting((*BOTH, Message("assistant", "Done."))) == ()


@pytest.mark.parametrize(
    ("form", "sign", "writing"),
    [(form, sign, writing) for form, rows in WRITINGS.items() for sign, writing in rows if writing is not None],
    ids=[f"{form}-{sign}" for form, rows in WRITINGS.items() for sign, writing in rows if writing is not None],
)
def test_what_is_written_is_read_as_the_same_call(form: str, sign: str, writing: Writing):
    row = next(row for row in FORMATS if row.name == form)
    template = row.signs[0] + sign
    assert find_format(template) == row
    assert find_writing(template) == writing
    splitter = CallSplitter(row, TOOLS)
    written = writing.write(CALL, 3)
    assert "{number}" not in written
    (read,) = [*splitter.feed(written), *splitter.flush()]
    assert (read.name, json.loads(read.arguments_json)) == (CALL.name, json.loads(CALL.arguments_json))
