from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.scripted import make_onnx

from localfirst.backends.onnx.folder import read_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"chat_template": "one"}, "one"),
        ({"chat_template": [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]}, "b"),
        ({"chat_template": [{"name": "tool_use", "template": "a"}]}, None),
        ({"chat_template": 7}, None),
        ({}, None),
    ],
    ids=["a text", "named", "without default", "neither", "none"],
)
def test_a_template_is_found_in_the_tokenizer_s_configuration(
    tmp_path: Path, described: dict[str, object], expected: str | None
) -> None:
    make_onnx(tmp_path, "Hello there.", template=None)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | described))
    assert read_folder(tmp_path).template == expected


def test_a_template_in_a_file_of_its_own_comes_first(tmp_path: Path) -> None:
    make_onnx(tmp_path, "Hello there.", template="from the file")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"chat_template": "from the configuration"}))
    assert read_folder(tmp_path).template == "from the file"


def test_token_texts_are_found_plain_and_described(tmp_path: Path) -> None:
    make_onnx(tmp_path, "Hello there.")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"bos_token": {"content": "<s>"}, "eos_token": "</s>"}))
    folder = read_folder(tmp_path)
    assert (folder.bos_token, folder.eos_token) == ("<s>", "</s>")
    path.write_text(json.dumps({"bos_token": None}))
    folder = read_folder(tmp_path)
    assert (folder.bos_token, folder.eos_token) == ("", "")
