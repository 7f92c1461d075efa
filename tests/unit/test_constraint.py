import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst import constraint
from localfirst.conversation import Constraint
from localfirst.errors import ConstraintError


def nest(depth):
    return "[" * depth + "]" * depth


def test_a_schema_is_kept_as_it_was_written():
    text = ' {"type": "object"}\n'
    assert constraint.make_schema(text) == Constraint("json_schema", text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "is no JSON"),
        ("type: object", "is no JSON"),
        ("true", "is no JSON object"),
        ("[]", "is no JSON object"),
        ('{"a": ' + nest(constraint.MAX_DEPTH) + "}", "deeper than 64"),
        ('{"a": ' + nest(40_000)[:65_000] + "}", "deeper than 64|is no JSON"),
        (json.dumps({"enum": ["x" * constraint.MAX_CHARACTERS]}), "too long"),
        ('{"type": "array", "minItems": 1000000000}', "`minItems` is 1000000000"),
        ('{"properties": {"a": {"type": "string", "maxLength": 1e300}}}', "`maxLength`"),
        ('{"type": "string", "pattern": "a{1,99999}"}', "repeats too often: {1,99999}"),
    ],
)
def test_what_no_engine_should_see_is_refused_with_a_word_to_go_on(text, says):
    with pytest.raises(ConstraintError, match=says) as raised:
        constraint.make_schema(text)
    assert raised.value.hint


def test_bounds_are_reached_by_what_they_allow():
    constraint.make_schema('{"a": ' + nest(constraint.MAX_DEPTH - 1) + "}")
    constraint.make_schema(json.dumps({"minItems": constraint.MAX_COUNT, "pattern": "a{10000}"}))
    constraint.make_regex("a" * constraint.MAX_CHARACTERS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda x: st.lists(x) | st.dictionaries(st.text(max_size=9), x),
    )
)
def test_any_json_is_a_constraint_or_an_error(value):
    try:
        made = constraint.make_schema(json.dumps(value))
    except ConstraintError:
        return
    assert isinstance(json.loads(made.text), dict)


@pytest.mark.parametrize("text", ["", "a{99999}", "a{2,99999999999999999999}", "a" * 70_000])
def test_an_expression_out_of_bounds_is_refused(text):
    with pytest.raises(ConstraintError):
        constraint.make_regex(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('root ::= "yes" | "no"', "gbnf"),
        ("# a remark\nroot ::= item+\nitem ::= [a-z]", "gbnf"),
        ('start: "yes" | "no"', "lark"),
        ('start: "::="', "lark"),
    ],
)
def test_a_grammar_is_in_the_notation_that_it_looks_like(text, kind):
    assert constraint.make_grammar(text).kind == kind


@pytest.mark.parametrize(
    ("kind", "answer", "kept"),
    [
        ("json_schema", '{"a": 1}', True),
        ("json_schema", "3", True),
        ("json_schema", '{"a": ', False),
        ("json_schema", "", False),
        ("json_object", "{}", True),
        ("json_object", "3", False),
        ("regex", "anything", True),
    ],
)
def test_json_that_is_none_is_seen(kind, answer, kept):
    assert constraint.is_kept(Constraint(kind, "{}"), answer) is kept
