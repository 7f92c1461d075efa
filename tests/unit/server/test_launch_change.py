"""Settings of other programs: changed where they stand, everything else kept."""

from __future__ import annotations

import json
import tomllib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from localfirst.server.launch import json_text
from localfirst.server.launch.change import Put, RefusedTextError, apply, show

PROVIDER = Put(("provider", "localfirst"), {"options": {"baseURL": "http://127.0.0.1:1/v1"}, "models": {"a": {}}})
TABLE = Put(("model_providers", "localfirst"), {"base_url": "http://127.0.0.1:1/v1", "wire_api": "responses"})
ITEM = Put(("models",), {"name": "a (localfirst)", "model": "a"}, by="name")

ZED = """// Zed
{
\t"theme": "One", // mine
\t"provider": {
\t\t// keep me
\t\t"ollama": {"api_url": "http://x//y"}, /* and
\t\tme */
\t},
\t"vim_mode": true // the last
}
"""
CODEX = """# mine
model = "o3"   # a good one

[model_providers.localfirst]
base_url = "http://127.0.0.1:9/v1"
query_params = "kept"

# about the next
[mcp_servers.docs]
command = "docs"
"""
CONTINUE = """# mine
name: My Config
models:
  - name: GPT # best
    provider: openai
    defaultCompletionOptions:
      contextLength: 4096

# rules follow
rules:
  - be nice
"""


def test_a_key_goes_beside_others_and_every_comment_stays() -> None:
    changed = apply("json", ZED, [PROVIDER])
    assert changed.splitlines()[:7] == ZED.splitlines()[:7]
    assert '"vim_mode": true // the last' in changed
    assert '\n\t\t"localfirst": {\n\t\t\t"options": {' in changed
    said = json_text.parse(changed)
    assert said["provider"].pop("localfirst") == PROVIDER.value
    assert said == json_text.parse(ZED)
    assert apply("json", changed, [PROVIDER]) == changed


def test_what_somebody_added_to_ours_stays() -> None:
    text = '{"provider": {"localfirst": {"options": {"baseURL": "old", "timeout": 9}, "mine": true}}}'
    said = json.loads(apply("json", text, [PROVIDER]))["provider"]["localfirst"]
    assert said["options"] == {"baseURL": "http://127.0.0.1:1/v1", "timeout": 9}
    assert said["mine"] is True


def test_a_table_is_replaced_where_it_stands() -> None:
    changed = apply("toml", CODEX, [TABLE])
    said = tomllib.loads(changed)
    assert said["model_providers"]["localfirst"] == {**TABLE.value, "query_params": "kept"}
    assert changed.startswith('# mine\nmodel = "o3"   # a good one\n\n[model_providers.localfirst]\n')
    assert changed.endswith('\n\n# about the next\n[mcp_servers.docs]\ncommand = "docs"\n')
    assert apply("toml", changed, [TABLE]) == changed


def test_a_table_is_added_at_the_end() -> None:
    assert apply("toml", 'model = "o3"', [TABLE]) == 'model = "o3"\n\n' + show("toml", [TABLE])
    assert apply("toml", "", [TABLE]) == show("toml", [TABLE])


def test_an_item_is_added_and_replaced_where_it_stands() -> None:
    changed = apply("yaml", CONTINUE, [ITEM])
    said = yaml.safe_load(changed)
    assert said["models"].pop() == ITEM.value
    assert said == yaml.safe_load(CONTINUE)
    assert "GPT # best" in changed
    assert "\n\n# rules follow\nrules:\n" in changed
    newer = apply("yaml", changed, [ITEM._replace(value={"name": "a (localfirst)", "model": "b"})])
    assert newer == changed.replace("model: a\n", "model: b\n")


@pytest.mark.parametrize(
    ("form", "put", "text"),
    [("json", PROVIDER, ""), ("json", PROVIDER, "// nothing\n"), ("yaml", ITEM, ""), ("yaml", ITEM, "# nothing\n")],
)
def test_an_empty_text_becomes_a_whole_one(form: str, put: Put, text: str) -> None:
    changed = apply(form, text, [put])
    assert changed.endswith(show(form, [put]))
    assert changed.startswith(text)


def test_what_is_for_new_files_only_is_not_added_to_others() -> None:
    head = Put(("name",), "Main", only_new=True)
    assert yaml.safe_load(apply("yaml", "", [head, ITEM])) == {"name": "Main", "models": [ITEM.value]}
    assert yaml.safe_load(apply("yaml", "rules: []\n", [head, ITEM])) == {"rules": [], "models": [ITEM.value]}


@pytest.mark.parametrize(
    ("form", "put", "text", "why"),
    [
        ("json", PROVIDER, '{"provider": 3}', "no table"),
        ("json", PROVIDER, "[1]", "no table"),
        ("json", PROVIDER, '{"provider": {', "missing in line 1"),
        ("json", PROVIDER, '{"a": 1 "b": 2}', "comma is missing in line 1"),
        ("json", PROVIDER, '{"a": tru}', "`tru` is no value"),
        ("json", PROVIDER, '{"a": 1, "a": 2}', "`a` is there twice"),
        ("json", PROVIDER, "{} {}", "more follows"),
        ("json", Put(("a",), [2]), '{"a": [1 /* why */]}', "a comment stands"),
        ("toml", TABLE, "model = ", "cannot be read"),
        ("toml", TABLE, "model_providers = {}", "could not be kept"),
        ("toml", TABLE, "[model_providers.localfirst]\nbase_url = 'x' # why\n", "a comment stands"),
        ("toml", TABLE, "[model_providers.localfirst.http_headers]\na = 'b'\n", "could not be kept"),
        ("toml", TABLE, "[model_providers]\nlocalfirst = 'x'\n", "`model_providers.localfirst` is no table"),
        ("toml", TABLE, "[model_providers.localfirst]\nsince = 2026-11-01\n", "`since` .* cannot be written again"),
        ("yaml", ITEM, "models: [{name: a}]\n", "in a line"),
        ("yaml", ITEM, "models: &x\n  - name: a (localfirst) # why\n    model: b\n", "a comment stands"),
        ("yaml", ITEM, "models: !own\n  - a\n", "cannot be read"),
        ("yaml", ITEM, "models: text\n", "where a list belongs"),
        ("yaml", ITEM, "models: 5\n", "where a list belongs"),
        ("yaml", ITEM, "{name: a}\n", "no table that a key can be added to"),
    ],
)
def test_what_cannot_be_changed_without_harm_is_refused(form: str, put: Put, text: str, why: str) -> None:
    with pytest.raises(RefusedTextError, match=why):
        apply(form, text, [put])


_SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
_OBJECTS = st.dictionaries(st.text(max_size=4), _VALUES, max_size=4)


@given(_OBJECTS, st.sampled_from([None, 2, "\t"]))
def test_any_json_is_read_as_it_is(value: dict, indent: int | str | None) -> None:
    assert json_text.parse(json.dumps(value, indent=indent, ensure_ascii=False)) == value


@given(_OBJECTS, st.lists(st.text(max_size=4), min_size=1, max_size=3), _VALUES, st.sampled_from([None, 2, "\t"]))
def test_anything_is_put_anywhere_or_refused(value: dict, path: list[str], new: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    put = Put(tuple(path), new)
    try:
        changed = apply("json", text, [put])
    except RefusedTextError:
        return
    assert apply("json", changed, [put]) == changed


@given(_OBJECTS)
def test_any_yaml_list_takes_an_item_or_is_refused(value: dict) -> None:
    text = yaml.safe_dump({**value, "models": [{"name": "b"}, *value.values()]}, allow_unicode=True, sort_keys=False)
    try:
        changed = apply("yaml", text, [ITEM])
    except RefusedTextError:
        return
    assert yaml.safe_load(changed)["models"][-1] == ITEM.value
    assert apply("yaml", changed, [ITEM]) == changed
