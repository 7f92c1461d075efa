import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst import constraint
from localfirst.conversation import Constraint
from localfirst.errors import BadConstraintError


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
        ('{"type": "string", "pattern": "("}', "has a mistake"),
    ],
)
def test_what_no_engine_should_see_is_refused_with_a_word_to_go_on(text, says):
    with pytest.raises(BadConstraintError, match=says) as raised:
        constraint.make_schema(text)
    assert raised.value.hint
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "objekt"}, '`type` is "objekt"'),
        ({"type": ["string", "any"]}, "`type`"),
        ({"properties": []}, "`properties` is []"),
        ({"properties": {"a": {"type": None}}}, "`properties.a.type` is null"),
        ({"properties": {"a": 3}}, "`properties.a` is 3"),
        ({"$defs": {"b": {"required": True}}}, "`$defs.b.required`"),
        ({"anyOf": [{}, {"enum": "x"}]}, "`anyOf.1.enum`"),
        ({"anyOf": []}, "`anyOf`"),
        ({"items": {"minLength": -1}}, "`items.minLength`"),
        ({"maxItems": 2.5}, "`maxItems`"),
        ({"minimum": "1"}, "`minimum`"),
        ({"not": []}, "`not` is []"),
        ({"pattern": "[a"}, "`pattern`: `[` is not closed"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_its_place(schema, place):
    with pytest.raises(BadConstraintError, match="The schema has a mistake") as raised:
        constraint.make_schema(json.dumps(schema))
    assert raised.value.detail.startswith(place)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"type": {"const": 1}, "required": {"enum": [{"type": "x"}]}}, "required": ["type"]},
        {"type": ["string", "null"], "items": [{"type": "null"}, True], "additionalProperties": False},
        {"const": {"type": "x", "properties": 3}, "default": {"pattern": "("}, "examples": [{"enum": 3}]},
        {"minLength": 2.0, "maximum": 1.5, "x-own": {"type": 3}, "exclusiveMinimum": True},
    ],
)
def test_what_is_a_value_or_a_name_is_not_taken_for_a_schema(schema):
    constraint.make_schema(json.dumps(schema))


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
    except BadConstraintError:
        return
    assert isinstance(json.loads(made.text), dict)


@pytest.mark.parametrize("text", ["", "a{99999}", "a{2,99999999999999999999}", "a" * 70_000])
def test_an_expression_out_of_bounds_is_refused(text):
    with pytest.raises(BadConstraintError):
        constraint.make_regex(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a-z", "`[` is not closed, at character 1 of 4"),
        ("a(b", "a `(` is not closed"),
        ("a)b", "`)` closes nothing, at character 2 of 3"),
        ("a\\", "it ends in a backslash"),
        ("x{3,2}", "`{3,2}` begins above its end"),
    ],
)
def test_an_expression_that_is_broken_in_every_dialect_is_refused_at_once(text, says):
    with pytest.raises(BadConstraintError) as raised:
        constraint.make_regex(text)
    assert raised.value.detail.startswith(says)


@pytest.mark.parametrize(
    "text",
    [r"\p{L}+", r"[)(]\)\(\[", "[[a](]", "(?x) a # )", "[^]]+", "[{2,1}]", r"a{,2}", "(a|(b))*", r"[\]]", "[]a"],
)
def test_what_some_dialect_takes_is_left_to_the_engine(text):
    assert constraint.make_regex(text) == Constraint("regex", text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('root ::= "yes" | "no"', "gbnf"),
        ("# a remark\nroot ::= item+\nitem ::= [a-z]", "gbnf"),
        ('start: "yes" | "no"', "lark"),
        ('start: "::="', "lark"),
        ('%llguidance {}\n?start[lazy]: "a"', "lark"),
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


@pytest.mark.parametrize(
    ("text", "names"), [('top ::= "a"', "`root`"), ('top: "a"\nrestart: "b"', "`start`"), ("{}", "`start`")]
)
def test_a_grammar_without_its_first_rule_is_refused_with_an_example(text, names):
    with pytest.raises(BadConstraintError, match=names) as raised:
        constraint.make_grammar(text)
    assert constraint.make_grammar(raised.value.hint.removeprefix("Write one: "))
