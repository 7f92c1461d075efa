import json

import pytest

from localfirst.backends import constraints
from localfirst.backends.base import LoadedInfo
from localfirst.backends.llama_cpp import grammar
from localfirst.backends.openvino import structure
from localfirst.conversation import Constraint
from localfirst.errors import ConstraintError

INFO = LoadedInfo("x", "some-engine", "1", 1024, "CPU", "cpu", 1, None, constraints=("regex", "lark"))


def test_what_an_engine_cannot_hold_to_is_said_with_what_it_can():
    constraints.require(Constraint("regex", "a"), INFO)
    with pytest.raises(ConstraintError, match="some-engine cannot hold an answer to a JSON schema") as raised:
        constraints.require(Constraint("json_schema", "{}"), INFO)
    assert raised.value.detail == "it can to a regular expression, a grammar in Lark's notation"


def test_what_llguidance_shows_of_its_own_grammar_is_left_out_of_a_refusal():
    words = 'at 4(11): unknown name: "foo"\n   1 | start: foo\n              ^\n'
    asked = Constraint("lark", "// one\nstart: foo\n\n")
    refused = constraints.refuse(asked, "X", words, ahead=2)
    assert (refused.detail, refused.exit_code) == ('line 2, column 11: unknown name: "foo"', 2)
    late = constraints.refuse(asked, "X", "9(1): expecting token", ahead=3)
    assert late.detail == "after line 2, the last: expecting token"
    for kind in ("regex", "json_schema", "gbnf"):
        assert constraints.refuse(Constraint(kind, "x"), "X", words).detail == 'unknown name: "foo"', (
            "no line of theirs"
        )


LOGS = [
    (
        Constraint("lark", '// hello\nstart: word "!"\n'),
        (
            '0.00.384.776 E llg error: at 5(8): unknown name: "word"\n   5 | lf_st: word "!"\n'
            "0.00.384.778 E srv    send_error: task id = 2, error: x\n"
        ),
        'line 2, column 8: unknown name: "word"',
    ),
    (
        Constraint("lark", '\n%llguidance {}\n// hello\nstart: word "!"\n'),
        '0.00.384.776 E llg error: at 5(8): unknown name: "word"\n   5 | lf_st: word "!"\n',
        'line 4, column 8: unknown name: "word"',
    ),
    (
        Constraint("gbnf", 'root ::= "a"\n\nb ::= "b" ]\n'),
        (
            'parse: error parsing grammar: expecting newline or end at ]\n\n\nroot ::= "a"\n\nb ::= "b" ]\n\n'
            "0.00.233.653 E failed to parse grammar\n"
        ),
        "line 3: expecting newline or end at ]",
    ),
    (
        Constraint("gbnf", "root ::= foo\n"),
        (
            "parse: error parsing grammar: Undefined rule identifier 'foo'\n\nroot ::= foo\n\n"
            "0.00.171.627 E failed to parse grammar\n0.00.171.638 E srv    send_error: task id = 2\n"
        ),
        "Undefined rule identifier 'foo'",
    ),
    (
        Constraint("gbnf", "root ::= a\n"),
        "0.00.186.049 E grammar does not contain a 'a' symbol\n0.00.187.785 E srv    send_error: task id = 14\n",
        "grammar does not contain a 'a' symbol",
    ),
]


@pytest.mark.parametrize(("constraint", "log", "told"), LOGS)
def test_of_the_log_of_llama_cpp_its_reason_is_told_with_the_line_of_the_user_s_grammar(constraint, log, told):
    reason = grammar.find_reason(constraint, log)
    assert constraints.refuse(constraint, "x", reason, grammar.count_lines_ahead(constraint)).detail == told
    assert grammar.find_reason(constraint, "0.00.1 I all is well\n") is None


@pytest.mark.parametrize(
    ("constraint", "grammar"),
    [
        (Constraint("regex", "a/b"), r"start: /a\/b/"),
        (Constraint("regex", r"a\/b"), r"start: /a\/b/"),
        (Constraint("regex", "a\nb"), r"start: /a\nb/"),
        (Constraint("regex", "a\\\nb"), r"start: /a\nb/"),
        (Constraint("regex", "a\\\\\nb"), r"start: /a\\\nb/"),
        (Constraint("lark", "start: x"), "start: x"),
    ],
)
def test_an_expression_is_written_as_a_rule(constraint, grammar):
    assert constraints.find_lark(constraint) == grammar


def test_json_is_written_on_one_line_unless_the_schema_says_how():
    plain = json.loads(constraints.find_guided_schema(Constraint("json_object")))
    assert plain["x-guidance"]["whitespace_flexible"] is False
    own = json.loads(constraints.find_guided_schema(Constraint("json_schema", '{"x-guidance": {}}')))
    assert own == {"x-guidance": {}}


def test_a_grammar_s_own_first_line_is_not_repeated():
    told = grammar.describe(Constraint("lark", '%llguidance {}\n\nstart: "a"\n'))
    assert told["grammar"] == '%llguidance {}\n\nstart: "a"\n'
    trial = grammar.describe_trial(Constraint("lark", '%llguidance {}\nstart: "a" start?\n'))["grammar"]
    assert trial.count("%llguidance") == 1
    assert "\nlf_st: " in trial


def test_lengths_are_patterns_for_openvino_but_not_in_values():
    schema = {"properties": {"a": {"type": "string", "maxLength": 3}}, "enum": [{"maxLength": 3}]}
    strict = json.loads(structure.find_strict_schema(Constraint("json_schema", json.dumps(schema))))
    assert strict["properties"]["a"]["pattern"].endswith("{0,3}$")
    assert strict["enum"] == [{"maxLength": 3}]
    assert "pattern" not in strict
