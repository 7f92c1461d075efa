"""A chat on a real pseudo-terminal with a real engine and a scripted model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect
import pytest
from tests.conftest import Lf
from tests.fixtures.scripted import Shape, make_onnx

REPLY = "Hello there, I am a very small model."
PROMPT = ">>> "


@pytest.fixture
def model(tmp_path: Path) -> str:
    make_onnx(tmp_path / "model", REPLY)
    return str(tmp_path / "model")


def start(lf: Lf, *words: str) -> pexpect.spawn:
    environment = lf.env() | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = ["-m", "localfirst", "run", *words]
    return pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=30, dimensions=(40, 100))


def test_a_conversation_remembers_and_forgets(lf: Lf, model: str) -> None:
    chat = start(lf, model, "--stats")
    for typed, expected in (
        ("hi", "prompt 5 tokens"),
        # the turn before comes again, and is found in the cache
        ("hi", r"prompt \d\d tokens \(\d+ cached\)"),
        ("/clear", "forgotten"),
        ("hi", "prompt 5 tokens"),
        ("/show info", "onnx-cpu"),
    ):
        chat.expect(PROMPT)
        chat.sendline(typed)
        chat.expect(expected)
    chat.expect(PROMPT)
    chat.sendline("/bye")
    chat.expect(pexpect.EOF)
    chat.close()
    assert chat.exitstatus == 0


def test_ctrl_c_stops_an_endless_answer_and_the_chat_goes_on(lf: Lf, tmp_path: Path) -> None:
    make_onnx(tmp_path / "endless", "on and on ", loop=True, shape=Shape(context=65536))
    chat = start(lf, str(tmp_path / "endless"), "--ctx", "65536")
    chat.expect(PROMPT)
    chat.sendline("hi")
    chat.expect("on and on")
    chat.sendintr()
    chat.expect("stopped")
    chat.expect(PROMPT)
    chat.sendline("/show stats")
    chat.expect("cancelled")
    chat.expect(PROMPT)
    chat.sendeof()
    chat.expect(pexpect.EOF)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_that_dies_is_told_and_replaced(lf: Lf, model: str) -> None:
    chat = start(lf, model)
    chat.expect(PROMPT)
    chat.sendline("hi")
    chat.expect(REPLY)
    chat.expect(PROMPT)
    children = Path(f"/proc/{chat.pid}/task/{chat.pid}/children").read_text().split()
    os.kill(int(children[0]), 9)
    chat.sendline("still there?")
    chat.expect(REPLY)
    chat.expect(PROMPT)
    chat.sendeof()
    chat.expect(pexpect.EOF)


def test_what_is_typed_is_kept_for_its_owner_alone_or_not_at_all(lf: Lf, model: str) -> None:
    for words, kept in (([], True), (["--no-history"], False)):
        lf.home = lf.home.with_name(f"home-{kept}")
        chat = start(lf, model, *words)
        chat.expect(PROMPT)
        chat.sendline("a secret question")
        chat.expect(REPLY)
        chat.expect(PROMPT)
        chat.sendeof()
        chat.expect(pexpect.EOF)
        history = lf.home / "history"
        assert history.exists() == kept
        if kept:
            assert "a secret question" in history.read_text()
            assert history.stat().st_mode & 0o077 == 0


def test_an_answer_under_a_schema_that_is_cut_off_is_said_to_be_none_and_the_chat_goes_on(lf: Lf, model: str) -> None:
    schema = Path(model).parent / "schema.json"
    schema.write_text('{"enum": ["a long word"]}')
    chat = start(lf, model, "--schema", str(schema), "--max-tokens", "1")
    for _ in range(2):
        chat.expect(PROMPT)
        chat.sendline("hi")
        chat.expect("The answer is not whole")
    chat.expect(PROMPT)
    chat.sendeof()
    chat.expect(pexpect.EOF)


def test_a_model_goes_on_from_the_result_of_its_call(lf: Lf, tmp_path: Path) -> None:
    template = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}"
        "{% for call in m.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endfor %}"
    )
    make_onnx(tmp_path / "caller", 'Let me see. <tool_call>{"name": "f"}</tool_call>', template=template)
    (tmp_path / "tools.json").write_text('[{"name": "f"}]')
    chat = start(lf, str(tmp_path / "caller"), "--tools", str(tmp_path / "tools.json"), "--stats")
    for typed, expected in (
        ("hi", r"f\(\{\}\)"),
        ("/tool f 21", r"Let me see"),
        ("/regen", r"Let me see"),
    ):
        chat.expect(PROMPT)
        chat.sendline(typed)
        chat.expect(expected)
        chat.expect("waits for the result")
    chat.expect(PROMPT)
    chat.sendeof()
    chat.expect(pexpect.EOF)
