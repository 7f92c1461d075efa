import contextlib
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.chat import render as chat
from localfirst.conversation import Message
from localfirst.errors import TemplateError

SYSTEM = Message("system", "Be brief.")
HI = Message("user", "Hi <b>")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TALK = (HI, Message("assistant", "Hello!"), Message("user", "Bye"))


def read_template(name):
    return (Path(__file__).parent / "templates" / f"{name}.jinja").read_text("utf-8")


def render(template, messages=(HI,), **options):
    now = datetime(2026, 11, 2)  # noqa: DTZ001 - only its date is shown
    return chat.render_chat(template, messages, **TOKENS, now=now, options=options)


@pytest.mark.parametrize(
    ("template", "messages", "prompt"),
    [
        pytest.param(
            read_template("chatml"),
            (SYSTEM, *TALK),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b><|im_end|>\n"
            "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
            id="chatml",
        ),
        pytest.param(
            read_template("llama-3"),
            (SYSTEM, HI),
            "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 02 Nov 2026\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi <b><|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            id="llama-3",
        ),
        pytest.param(
            read_template("gemma"),
            TALK,
            "<s><start_of_turn>user\nHi <b><end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
            id="gemma",
        ),
        pytest.param(read_template("phi"), (HI,), "<|user|>\nHi <b><|end|>\n<|assistant|>\n", id="phi"),
        pytest.param(read_template("training"), TALK, "Q: Hi <b>\nA: Hello!\nQ: Bye\nA:", id="generation-blocks"),
        pytest.param(
            chat.FALLBACK_TEMPLATE,
            (SYSTEM, HI),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b><|im_end|>\n<|im_start|>assistant\n",
            id="fallback",
        ),
    ],
)
def test_templates_give_the_prompts_that_their_models_were_trained_on(template, messages, prompt):
    assert render(template, messages) == prompt


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        pytest.param(
            read_template("gemma"),
            "<s><start_of_turn>user\nBe brief.\n\nHi <b><end_of_turn>\n<start_of_turn>model\n",
            id="refused",
        ),
        pytest.param(read_template("phi"), "<|user|>\nBe brief.\n\nHi <b><|end|>\n<|assistant|>\n", id="dropped"),
    ],
)
def test_a_system_text_that_a_template_does_not_take_leads_the_first_user_message(template, prompt):
    assert render(template, (SYSTEM, HI)) == prompt


def test_rendering_as_is_leaves_the_refusal_of_a_system_role_to_the_caller():
    with pytest.raises(TemplateError) as caught:
        chat.render(read_template("gemma"), (SYSTEM, HI), **TOKENS)
    assert caught.value.message == "The model's chat template refused this conversation"
    assert caught.value.detail == "System role not supported"


@pytest.mark.parametrize(
    ("messages", "merged"),
    [
        pytest.param((SYSTEM, HI), (Message("user", "Be brief.\n\nHi <b>"),), id="first-user"),
        pytest.param((SYSTEM,), (Message("user", "Be brief."),), id="no-user"),
        pytest.param(TALK, TALK, id="no-system"),
        pytest.param((Message("system", ""), HI), (HI,), id="empty"),
        pytest.param(
            (SYSTEM, HI, Message("system", "In French.")),
            (Message("user", "Be brief.\n\nIn French.\n\nHi <b>"),),
            id="two-systems",
        ),
    ],
)
def test_merging_keeps_every_word_of_the_system_messages(messages, merged):
    assert chat.merge_system(messages) == merged


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        pytest.param("{{ {'a': '<é>&'} | tojson }}", '{"a": "<é>&"}', id="json-without-html-escapes"),
        pytest.param("{{ [1, 2] | tojson(indent=2) }}", "[\n  1,\n  2\n]", id="json-indent"),
        pytest.param(
            "{{ {'b': 1, 'a': 'é'} | tojson(ensure_ascii=true, sort_keys=true) }}",
            '{"a": "\\u00e9", "b": 1}',
            id="json-ascii",
        ),
        pytest.param(
            "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01", id="break"
        ),
        pytest.param(
            "{% set a = namespace(n=0) %}{% for m in messages %}{% set a.n = a.n + 1 %}{% endfor %}{{ a.n }}",
            "1",
            id="namespace",
        ),
        pytest.param(
            "{{ tools is none }} {{ documents is none }} {{ missing is defined }}", "True True False", id="no-tools"
        ),
        pytest.param("{{ 1 ~ 'a' ~ none ~ missing }}", "1aNone", id="concatenation"),
        pytest.param(
            "{{ '%s-%d' % ('a', 2) }}{{ '{}!'.format('b') }}{{ '%5s' | format('c') }}", "a-2b!    c", id="formats"
        ),
        pytest.param(
            "{{ 'ab'.ljust(4) }}|{{ ['a', 'b'] | join(',') }}|{{ 'a' | center(3) }}|{{ 2**10 }}|{{ 'ab' * 2 }}",
            "ab  |a,b| a |1024|abab",
            id="growth-in-bounds",
        ),
        pytest.param("{{ eos_token }}{{ messages[0]['content'] }}", "</s>Hi <b>", id="no-autoescape"),
    ],
)
def test_templates_find_what_transformers_gives_them(template, prompt):
    assert render(template) == prompt


def test_options_reach_the_template():
    assert render(read_template("chatml"), (HI,), enable_thinking=False).endswith("assistant\n<think>\n\n</think>\n\n")


def doubling(expression):
    return "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = " + expression + " %}{% endfor %}"


GROWS = "The model's chat template grows without end"
RECURSION = "The model's chat template calls itself without end"
SYNTAX = "The model's chat template has a syntax error in line "
FAILED = "The model's chat template failed"
SANDBOX = "The model's chat template tried what the sandbox does not allow"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param("{{ 'a' * 10**10 }}", GROWS, id="repeat"),
        pytest.param("{{ 10**10 * ['a'] }}", GROWS, id="repeat-list"),
        pytest.param("{{ 10 ** (10 ** 10) }}", GROWS, id="power"),
        pytest.param("{{ 'a' | center(9999999999) }}", GROWS, id="center"),
        pytest.param("{{ 'a\nb' | indent(width=9999999999) }}", GROWS, id="indent"),
        pytest.param("{{ 'a'.rjust(9999999999) }}", GROWS, id="rjust"),
        pytest.param("{{ '%9999999999d' % 1 }}", GROWS, id="percent-width"),
        pytest.param("{{ '%*d' % (9999999999, 1) }}", GROWS, id="percent-star"),
        pytest.param("{{ '%9999999999d' | format(1) }}", GROWS, id="format-filter"),
        pytest.param("{{ '{:>9999999999}'.format(1) }}", GROWS, id="format-width"),
        pytest.param("{{ '{:{w}}'.format(1, w=9999999999) }}", GROWS, id="format-nested-width"),
        pytest.param(doubling("n.s ~ n.s"), GROWS, id="doubling-tilde"),
        pytest.param(doubling("n.s + n.s"), GROWS, id="doubling-plus"),
        pytest.param(doubling("[n.s, n.s] | join"), GROWS, id="doubling-join"),
        pytest.param(doubling("n.s.replace('ab', 'abab')"), GROWS, id="doubling-replace"),
        pytest.param("{% set s = 'a' * 100000 %}{% for i in range(99999) %}{{ s }}{% endfor %}", GROWS, id="output"),
        pytest.param("{% for i in range(10**9) %}x{% endfor %}", GROWS, id="range"),
        pytest.param("{# " + "x" * 2**20 + " #}", GROWS, id="source"),
        pytest.param("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", RECURSION, id="recursion"),
        pytest.param("{{ messages.__class__.__mro__ }}", SANDBOX, id="class"),
        pytest.param("{{ raise_exception.__globals__['json'] }}", SANDBOX, id="globals"),
        pytest.param("{{ strftime_now.__self__.year }}", SANDBOX, id="method-self"),
        pytest.param("{{ messages.append(1) }}", SANDBOX, id="mutation"),
        pytest.param("{{ '{0.__class__.__mro__}'.format(1) }}", SANDBOX, id="format-attribute"),
        pytest.param("{{ ('{0.__class__.__mro__}' | attr('format'))(1) }}", SANDBOX, id="attr-format"),
        pytest.param("{% include 'x' %}", FAILED, id="include"),
        pytest.param("{{ missing.attribute }}", FAILED, id="undefined"),
        pytest.param("{{ 1 + 'a' }}", FAILED, id="type"),
        pytest.param("{{ 1 / 0 }}", FAILED, id="zero"),
        pytest.param("a\nb\n{% if %}", SYNTAX + "3", id="syntax"),
        pytest.param("{{ 1 | nofilter }}", SYNTAX + "1", id="unknown-filter"),
    ],
)
def test_what_a_hostile_or_broken_template_does_is_a_typed_error_with_its_reason(template, message):
    with pytest.raises(TemplateError) as caught:
        render(template)
    assert caught.value.message == message
    assert caught.value.detail


def test_the_detail_is_the_templates_own_words_cut_to_a_bearable_length():
    with pytest.raises(TemplateError) as caught:
        render("{{ raise_exception('no ' * 5000) }}")
    assert caught.value.detail == ("no " * 5000)[:2000]


def test_a_template_that_always_fails_is_not_blamed_on_the_system_message():
    with pytest.raises(TemplateError) as caught:
        render("{{ raise_exception('tools only') }}", (SYSTEM, HI))
    assert caught.value.detail == "tools only"


@given(st.text(alphabet="{}%# -()[]'|~*.abifnst_\n", max_size=60))
def test_any_template_text_gives_a_prompt_or_a_template_error(template):
    with contextlib.suppress(TemplateError):
        assert isinstance(render(template), str)


@given(st.text())
def test_a_message_comes_through_character_by_character(content):
    prompt = render(chat.FALLBACK_TEMPLATE, (Message("user", content),))
    assert prompt == f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"
