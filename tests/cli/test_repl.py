import json
import os
import stat
import sys
from pathlib import Path

import pexpect
import pytest

CHILD = str(Path(__file__).with_name("repl_child.py"))
CTRL_C, CTRL_D = "\x03", "\x04"
AT_PROMPT, LEFT_PROMPT = "\x1b[?2004h", "\x1b[?2004l"
"""Bracketed paste is on while a line is edited, and only then."""
SECONDS = 30


class Terminal:
    """A chat in a pseudo-terminal of 80 columns; what it leaves behind is read when it ends."""

    def __init__(self, folder, *flags, home):
        self._left = folder / "left.json"
        variables = {**os.environ, "LF_HOME": str(home), "LEFT_BEHIND": str(self._left), "TERM": "xterm"}
        variables["PROMPT_TOOLKIT_NO_CPR"] = "1"  # nobody answers where the cursor is
        variables.pop("NO_COLOR", None)
        command = [sys.executable, CHILD, *flags]
        self._child = pexpect.spawn(
            command[0], command[1:], env=variables, encoding="utf-8", dimensions=(40, 80), timeout=SECONDS, cwd=folder
        )
        self.shown = ""

    def wait_for(self, text):
        """Read until a text is shown; gives what came before it."""
        self._child.expect_exact(text)
        self.shown += self._child.before + text
        return self._child.before

    def say(self, text):
        """Type a line at the prompt; gives what is shown between it and the next prompt."""
        self._child.send(text + "\r")
        self.wait_for(LEFT_PROMPT)
        shown = self.wait_for(AT_PROMPT)
        self.wait_for(">>> ")
        return shown

    def send(self, keys):
        self._child.send(keys)

    def end(self):
        """Wait until the chat ends by itself; gives its exit code and what it left behind."""
        self._child.expect(pexpect.EOF)
        self.shown += self._child.before
        self._child.close()
        return self._child.exitstatus, json.loads(self._left.read_text("utf-8"))

    def close(self):
        self._child.close(force=True)


@pytest.fixture
def open_chat(tmp_path):
    opened = []

    def open_(*flags, home=None):
        terminal = Terminal(tmp_path, *flags, home=home or tmp_path / "home")
        opened.append(terminal)
        terminal.wait_for(">>> ")
        return terminal

    yield open_
    for terminal in opened:
        terminal.close()


def leave(chat):
    chat.send(CTRL_D)
    code, left = chat.end()
    assert (code, left["restored"]) == (0, True)
    return left


def test_a_message_is_answered_and_control_d_leaves(open_chat):
    chat = open_chat()
    assert "you said: hello" in chat.say("hello")
    assert leave(chat)["messages"] == ["user: hello", "assistant: you said: hello"]


def test_thinking_is_dim_under_a_heading_and_a_blank_line_before_the_answer(open_chat):
    chat = open_chat()
    heading, thought = "\x1b[1mthinking\x1b[0m\r\n", "\x1b[2mlet me see\x1b[0m"
    assert f"{heading}{thought}\r\n\r\nfound it\r\n" in chat.say("think")
    leave(chat)


@pytest.mark.parametrize(("text", "presses"), [("slow", 1), ("deaf", 2)])
def test_control_c_stops_the_answer_and_keeps_what_was_said(open_chat, text, presses):
    chat = open_chat()
    chat.send(f"{text}\r")
    chat.wait_for("begun ")
    chat.send(CTRL_C)
    for _ in range(presses - 1):
        chat.wait_for(".")
        chat.wait_for(".")  # the first one has been seen by now
        chat.send(CTRL_C)
    chat.wait_for("stopped")
    chat.wait_for(">>> ")
    assert "you said: go on" in chat.say("go on")
    asked, said, *_ = leave(chat)["messages"]
    assert asked == f"user: {text}"
    assert said.startswith("assistant: begun ")
    assert said.count(".") < 200


def test_control_c_at_the_prompt_warns_once_and_then_leaves(open_chat):
    chat = open_chat()
    chat.send(CTRL_C)
    chat.wait_for("Press Ctrl-C again to leave, or type /bye")
    chat.wait_for(">>> ")
    chat.send(CTRL_C)
    code, left = chat.end()
    assert (code, left["restored"]) == (0, True)


def test_a_message_between_two_control_c_takes_the_warning_back(open_chat):
    chat = open_chat()
    for _ in range(2):
        chat.send(CTRL_C)
        chat.wait_for("Press Ctrl-C again")
        chat.wait_for(">>> ")
        chat.say("hello")
    assert len(leave(chat)["messages"]) == 4


def test_bye_leaves(open_chat):
    chat = open_chat()
    chat.send("/bye\r")
    assert chat.end()[0] == 0


def test_a_block_of_several_lines_is_one_message_and_no_command(open_chat):
    chat = open_chat()
    chat.send('"""one\r')
    chat.wait_for("... ")
    chat.send("/bye\r")
    chat.wait_for("... ")
    chat.send('three"""\r')
    chat.wait_for("you said: one")
    chat.wait_for(">>> ")
    assert leave(chat)["messages"][0] == "user: one\n/bye\nthree"


def test_an_error_in_an_answer_is_said_and_the_chat_goes_on(open_chat):
    chat = open_chat()
    shown = chat.say("fail")
    assert "half\r\n\x1b[1;31merror:\x1b[0m The engine failed\r\n  its own words\r\n" in shown
    assert "\x1b[1mhint:\x1b[0m Try `/clear`" in shown
    assert "you said: still here" in chat.say("still here")
    leave(chat)


def test_escape_sequences_and_markup_of_a_model_stay_text(open_chat):
    chat = open_chat()
    assert "abc [bold]d[/bold]\r\n" in chat.say("evil")
    assert "]52;" not in chat.shown
    assert "\x9b" not in chat.shown
    leave(chat)


def test_raw_passes_the_models_control_characters(open_chat):
    chat = open_chat("--raw")
    assert "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc" in chat.say("evil")
    leave(chat)


def test_stats_follow_each_answer_where_they_are_asked_for(open_chat):
    chat = open_chat("--stats")
    stats = "1 token, 21.4 tok/s, first token 80 ms, prompt 1 token (2 cached), stop"
    assert f"you said: hello\r\n\x1b[2m{stats}\x1b[0m" in chat.say("hello")
    leave(chat)


def test_commands_change_the_session_and_mistakes_in_them_do_not_end_the_chat(open_chat):
    chat = open_chat()
    assert "The system text is set" in chat.say("/set system Be brief.")
    assert "`temperature` is 0.2" in chat.say("/set parameter temperature 0.2")
    assert "`high` is not a number from 0 to 10" in chat.say("/set parameter temperature high")
    assert "No command `/nope`. There are: /help /bye" in chat.say("/nope")
    assert "you said: hi (again)" in (chat.say("hi"), chat.say("/regen"))[1]
    left = leave(chat)
    assert (left["system"], left["temperature"]) == ("Be brief.", 0.2)
    assert left["messages"] == ["user: hi", "assistant: you said: hi (again)"]


def test_a_file_goes_with_the_next_message_only(open_chat, tmp_path):
    (tmp_path / "notes.txt").write_text("alpha\nbeta\n", "utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00")
    chat = open_chat()
    assert "notes.txt goes with your next message (2 lines)" in chat.say("/file notes.txt")
    assert "`picture.png` is not UTF-8 text" in chat.say("/file picture.png")
    chat.say("Sum up")
    chat.say("And now?")
    asked = [message for message in leave(chat)["messages"] if message.startswith("user: ")]
    assert asked == ["user: Sum up\n\nnotes.txt:\n```\nalpha\nbeta\n```", "user: And now?"]


def test_tab_completes_a_command(open_chat):
    chat = open_chat()
    chat.send("/by")
    chat.wait_for("/bye")  # offered below the line
    chat.send("\t")
    chat.wait_for("e")
    chat.send("\r")
    assert chat.end()[0] == 0


def test_what_was_typed_is_kept_for_the_owner_alone_and_comes_back(open_chat, tmp_path):
    chat = open_chat()
    chat.say("remember me")
    leave(chat)
    home = tmp_path / "home"
    assert stat.S_IMODE((home / "history").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    again = open_chat()
    again.send("\x1b[A\r")
    again.wait_for("you said: remember me")
    again.wait_for(">>> ")
    leave(again)


def test_no_history_keeps_nothing(open_chat, tmp_path):
    chat = open_chat("--no-history")
    chat.say("a secret")
    leave(chat)
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_gives_one_notice_and_a_chat(open_chat, tmp_path):
    (tmp_path / "file").write_text("in the way", "utf-8")
    chat = open_chat(home=tmp_path / "file")
    assert chat.shown.count("What you type is not kept: ") == 1
    assert "you said: hello" in chat.say("hello")
    leave(chat)


def test_a_call_is_shown_and_waits_for_its_result(open_chat):
    chat = open_chat()
    shown = chat.say("calls f g")
    assert "f({})" in shown
    assert "/tool g RESULT" in " ".join(shown.split())
    assert "waits" in chat.say("never mind")
    assert "/tool g RESULT" in " ".join(chat.say("/tool f one").split())
    assert "you said" in chat.say("/tool g two")
    assert leave(chat)["messages"][:4] == [
        "user: calls f g",
        "assistant: you said: calls f g",
        "tool: one",
        "tool: two",
    ]
