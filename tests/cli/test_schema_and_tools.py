"""`lf run` with `--schema`, `--regex`, `--grammar` and `--tools`: real processes, real engines, scripted models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.scripted import TEMPLATE, make_gguf, make_litert, make_onnx

REPLY = "Blue, I think."
COLOUR = '{"enum": ["red", "green"]}'
TOOLS = '[{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]'
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Köln"}}</tool_call>'
TOOL_TEMPLATE = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE + "{# <tool_call> #}"


@pytest.fixture(params=["gguf", "onnx"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name, make = {"gguf": ("model.gguf", make_gguf), "onnx": ("model", make_onnx)}[request.param]
    make(tmp_path / name, REPLY)
    return str(tmp_path / name)


@pytest.fixture
def caller(tmp_path: Path) -> str:
    make_onnx(tmp_path / "caller", f"Let me see. {CALL}", template=TOOL_TEMPLATE)
    return str(tmp_path / "caller")


@pytest.fixture
def schema(tmp_path: Path) -> str:
    (tmp_path / "schema.json").write_text(COLOUR)
    return str(tmp_path / "schema.json")


def test_the_answer_under_a_schema_is_json_and_nothing_else(lf: Lf, model: str, schema: str) -> None:
    done = lf("run", model, "hi", "--temp", "0", "--schema", schema)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) in {"red", "green"}
    told = json.loads(lf("run", model, "hi", "--temp", "0", "--schema", schema, "--json").stdout)
    assert json.loads(told["text"]) in {"red", "green"}
    assert (told["finish_reason"], told["tool_calls"]) == ("stop", [])


def test_an_expression_and_a_grammar_hold_the_answer(lf: Lf, model: str, tmp_path: Path) -> None:
    (tmp_path / "g.lark").write_text('start: "yes" | "no"\n')
    assert lf("run", model, "hi", "--regex", "[0-9]{3}/x").stdout[3:] == "/x\n"
    assert lf("run", model, "hi", "--grammar", str(tmp_path / "g.lark")).stdout in {"yes\n", "no\n"}


def test_a_cut_off_answer_under_a_schema_is_said_to_be_none(lf: Lf, model: str, schema: str) -> None:
    done = lf("run", model, "hi", "--schema", schema, "--max-tokens", "1")
    assert done.returncode == 1
    assert done.stdout == '"\n'
    assert "cut off after 1 token\n" in done.stderr
    assert "--max-tokens" in done.stderr
    told = lf("run", model, "hi", "--schema", schema, "--max-tokens", "1", "--json")
    assert json.loads(told.stdout)["finish_reason"] == "length"
    assert json.loads(told.stderr)["error"]["code"] == "constraint"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"type": "nonsense"}', "nonsense"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "deeper"),
        ('{"type": "array", "minItems": 1000000000}', "minItems"),
    ],
    ids=["empty", "cut", "list", "nonsense", "deep", "huge"],
)
def test_a_schema_that_is_none_is_an_error_with_a_way_on(
    lf: Lf, model: str, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    done = lf("run", model, "hi", "--schema", str(tmp_path / "bad.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--regex", "[a-z", "`[` is not closed"),
        ("--grammar", "root = 3", "`start`"),
        ("--schema", '{"properties": {"a": {"type": "text"}}}', "properties.a.type"),
    ],
)
def test_what_is_wrong_for_every_engine_is_said_before_a_model_is_looked_for(
    lf: Lf, tmp_path: Path, option: str, text: str, says: str
) -> None:
    (tmp_path / "given").write_text(text)
    done = lf("run", "no-such-model", "hi", option, text if option == "--regex" else str(tmp_path / "given"))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('// hello\n\nstart: word "!"\n', "line 3, column 8: unknown name"),
        ('start: "a"\n\nb: ]\n', "line 3, column 4: expecting rule"),
    ],
)
def test_a_grammar_that_the_engine_refuses_is_told_with_the_line_of_the_file(
    lf: Lf, tmp_path: Path, text: str, place: str
) -> None:
    (tmp_path / "g.lark").write_text(text)
    done = lf("run", "starter", "hi", "--grammar", str(tmp_path / "g.lark"))
    assert (done.returncode, done.stdout) == (2, "")
    assert place in done.stderr
    assert "lf_st" not in done.stderr


@pytest.mark.parametrize(
    ("text", "says"), [("root ::= foo\n", "'foo'"), ('root ::= "a"\nb ::= "b" ]\n', "line 2: expecting newline or end")]
)
def test_of_the_engine_s_log_only_its_reason_is_shown(lf: Lf, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "g.gbnf").write_text(text)
    done = lf("run", "starter", "hi", "--grammar", str(tmp_path / "g.gbnf"))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "send_error" not in done.stderr


def test_what_an_engine_cannot_do_is_said_by_name(lf: Lf, tmp_path: Path, schema: str) -> None:
    make_litert(tmp_path / "model.litertlm", REPLY)
    done = lf("run", str(tmp_path / "model.litertlm"), "hi", "--schema", schema)
    assert done.returncode == 1
    assert "litert-lm cannot hold an answer to a JSON schema" in done.stderr
    assert "hint:" in done.stderr


def test_words_that_contradict_each_other_are_a_usage_error(lf: Lf, schema: str, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(TOOLS)
    for words in (("--regex", "a"), ("--tools", str(tmp_path / "tools.json"))):
        done = lf("run", "starter", "hi", "--schema", schema, *words)
        assert done.returncode == 2
        assert "together" in done.stderr or "under a constraint" in done.stderr
    assert lf("run", "starter", "hi", "--schema", str(tmp_path / "nowhere.json")).returncode == 2


def test_calls_are_printed_and_are_in_the_json(lf: Lf, caller: str, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(TOOLS)
    words = ("run", caller, "weather?", "--tools", str(tmp_path / "tools.json"))
    done = lf(*words)
    assert (done.returncode, done.stdout) == (0, 'Let me see.\nget_weather({"city": "Köln"})\n')
    told = json.loads(lf(*words, "--json").stdout)
    assert told["text"] == "Let me see."
    (call,) = told["tool_calls"]
    assert call == {"id": call["id"], "name": "get_weather", "arguments": {"city": "Köln"}}
    assert re.fullmatch("[A-Za-z0-9]{9}", call["id"])
    assert json.loads(lf("run", caller, "weather?", "--json").stdout)["text"].endswith(CALL)


def test_a_call_can_be_required_forbidden_or_named(lf: Lf, tmp_path: Path) -> None:
    make_onnx(tmp_path / "talker", REPLY, template=TOOL_TEMPLATE)
    parameters = {"type": "object", "properties": {"city": {"enum": ["Köln"]}}, "required": ["city"]}
    (tmp_path / "tools.json").write_text(json.dumps([{"name": "get_weather", "parameters": parameters}]))
    words = ("run", str(tmp_path / "talker"), "hi", "--tools", str(tmp_path / "tools.json"), "--tool-choice")
    for choice in ("required", "get_weather"):
        assert lf(*words, choice).stdout == 'get_weather({"city": "Köln"})\n'
    assert lf(*words, "none").stdout == REPLY + "\n"
    unknown = lf(*words, "sing")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "There is no tool `sing`" in unknown.stderr
    assert "get_weather" in unknown.stderr
    assert lf("run", "starter", "hi", "--tool-choice", "required").returncode == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[{"name": ""}]', '[{"name": "f", "parameters": 3}]'])
def test_tools_that_are_none_are_a_usage_error(lf: Lf, tmp_path: Path, text: str) -> None:
    (tmp_path / "tools.json").write_text(text)
    done = lf("run", "starter", "hi", "--tools", str(tmp_path / "tools.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_model_that_knows_no_tools_says_so(lf: Lf, model: str, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(TOOLS)
    done = lf("run", model, "hi", "--tools", str(tmp_path / "tools.json"))
    assert done.returncode == 1
    assert "knows no tools" in done.stderr
