import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.cli.repl_commands import ALIASES, COMMANDS, PARAMETERS, Chat, Outcome, find_completions, run_command
from localfirst.conversation import Answer, Message, Sampling, Timings, ToolCall, Usage, find_waiting


@pytest.fixture
def chat():
    session = SimpleNamespace(
        system=None,
        sampling=Sampling(),
        max_tokens=None,
        messages=[],
        last=None,
        info=lambda: {"model": "Echo", "device": "CPU"},
    )
    session.clear = session.messages.clear
    session.answer_call = lambda call, text: session.messages.append(Message("tool", text, tool_call_id=call.id))
    return Chat(session)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        pytest.param("/nope", "No command `/nope`. There are: " + " ".join(COMMANDS), id="unknown"),
        pytest.param("/\x1b[2Jx", "No command `/x`. There are: " + " ".join(COMMANDS), id="escape"),
        pytest.param("/set", "Write `/set system TEXT` or `/set parameter NAME VALUE`", id="set"),
        pytest.param("/set colour red", "Write `/set system TEXT` or `/set parameter NAME VALUE`", id="set-what"),
        pytest.param("/set parameter", "Name a parameter. There are: " + " ".join(PARAMETERS), id="no-name"),
        pytest.param("/set parameter x 1", "No parameter `x`. There are: " + " ".join(PARAMETERS), id="name"),
        pytest.param("/set parameter top_k", "`top_k` is off; it takes a whole number from 1, or off", id="no-value"),
        pytest.param("/set parameter top_k 0", "`0` is not a whole number from 1, or off", id="range"),
        pytest.param("/set parameter top_k 1.5", "`1.5` is not a whole number from 1, or off", id="kind"),
        pytest.param("/set parameter top_p nan", "`nan` is not a number from 0 to 1, or off", id="nan"),
        pytest.param("/set parameter temperature off", "`off` is not a number from 0 to 10", id="off"),
        pytest.param("/show", "Write `/show info` or `/show stats`", id="show"),
        pytest.param("/show stats", "There is no answer yet", id="no-stats"),
        pytest.param("/regen", "There is no question yet to answer again", id="regen"),
        pytest.param("/tool f 1", "No call waits for a result", id="no-call"),
        pytest.param("/file", "Write `/file PATH`", id="no-path"),
        pytest.param("/file /dev/zero", "`/dev/zero` is not a file", id="device"),
        pytest.param(
            "/file ~nobody-of-this-name/x",
            "`~nobody-of-this-name/x` cannot be read (No such file or directory)",
            id="home-of-nobody",
        ),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_what_is_possible(chat, typed, text):
    before = Chat(SimpleNamespace(**vars(chat.session)))
    assert run_command(chat, typed) == Outcome(text)
    assert vars(chat.session) == vars(before.session)


@pytest.mark.parametrize(
    ("typed", "text", "sampling", "max_tokens"),
    [
        pytest.param("/set parameter temperature 0", "`temperature` is 0.0", Sampling(0.0), None, id="temperature"),
        pytest.param("/set parameter top_k 40", "`top_k` is 40", Sampling(top_k=40), None, id="top-k"),
        pytest.param("/set parameter  top_p  0.9 ", "`top_p` is 0.9", Sampling(top_p=0.9), None, id="spaces"),
        pytest.param("/set parameter seed off", "`seed` is off", Sampling(), None, id="off"),
        pytest.param("/set parameter max_tokens 64", "`max_tokens` is 64", Sampling(), 64, id="max-tokens"),
    ],
)
def test_a_parameter_changes_how_words_are_drawn(chat, typed, text, sampling, max_tokens):
    assert run_command(chat, typed) == Outcome(text)
    assert (chat.session.sampling, chat.session.max_tokens) == (sampling, max_tokens)


def test_the_system_text_is_set_and_removed(chat):
    assert run_command(chat, "/set system  Be brief. ") == Outcome("The system text is set")
    assert chat.session.system == "Be brief."
    assert run_command(chat, "/set system") == Outcome("The system text is gone")
    assert chat.session.system is None


def test_clear_forgets_messages_and_attachments(chat):
    chat.session.messages.append(Message("user", "hi"))
    chat.attachments.append("notes")
    run_command(chat, "/clear")
    assert (chat.session.messages, chat.attachments) == ([], [])


def test_regen_asks_for_the_last_question_again(chat):
    chat.session.messages.append(Message("user", "hi"))
    assert run_command(chat, "/regen") == Outcome(then="answer again")


@pytest.mark.parametrize("typed", ["/bye", "/exit", "/quit", " /bye "])
def test_there_are_several_words_to_leave(chat, typed):
    assert run_command(chat, typed) == Outcome(then="leave")


def test_show_info_has_the_model_and_every_parameter(chat):
    chat.session.sampling = Sampling(0.5, top_k=40)
    assert run_command(chat, "/show info").text.splitlines() == [
        "model               Echo",
        "device              CPU",
        "system              none",
        "temperature         0.5",
        "top_k               40",
        "top_p               off",
        "min_p               off",
        "repetition_penalty  off",
        "seed                off",
        "max_tokens          off",
    ]


def test_show_stats_has_the_speed_of_the_last_answer(chat):
    chat.session.last = Answer("Hi", "", "stop", Usage(3, 1), Timings(decode_tps=20.0))
    assert run_command(chat, "/show stats") == Outcome("1 token, 20.0 tok/s, prompt 3 tokens, stop")


def test_help_has_every_command_within_eighty_columns(chat):
    lines = run_command(chat, "/help").text.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("/")} == set(COMMANDS)
    assert max(map(len, lines)) <= 80


def test_a_file_with_spaces_and_quotes_is_attached(chat, tmp_path):
    path = tmp_path / "my notes.txt"
    path.write_text("alpha\n", "utf-8")
    assert run_command(chat, f'/file "{path}"') == Outcome("my notes.txt goes with your next message (1 line)")
    assert chat.attachments == ["my notes.txt:\n```\nalpha\n```"]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        pytest.param("/sh", ("/show info", "/show stats"), id="commands"),
        pytest.param("/set p", tuple(f"/set parameter {name}" for name in PARAMETERS), id="parameters"),
        pytest.param("/show s", ("/show stats",), id="words"),
        pytest.param("/bye", (), id="whole"),
        pytest.param("hello", (), id="no-command"),
        pytest.param("", (), id="empty"),
    ],
)
def test_completions_are_whole_lines(typed, lines):
    assert find_completions(typed) == lines


def test_every_alias_names_a_command():
    assert set(ALIASES.values()) <= set(COMMANDS)


@given(st.sampled_from(list(PARAMETERS)), st.text(max_size=12) | st.floats().map(str) | st.integers().map(str))
def test_no_value_outside_its_range_reaches_the_session(name, value):
    session = SimpleNamespace(sampling=Sampling(), max_tokens=None)
    run_command(Chat(session), f"/set parameter {name} {value}")
    found = session.max_tokens if name == "max_tokens" else getattr(session.sampling, name)
    rule = PARAMETERS[name]
    assert found is None or rule.low <= found <= (rule.high or math.inf)


F, G, F2 = ToolCall("f", "{}", "id1"), ToolCall("g", "{}", "id2"), ToolCall("f", "{}", "id3")


@pytest.mark.parametrize(
    ("calls", "typed", "answered"),
    [
        pytest.param((F,), "/tool f 21 °C", ("id1", "21 °C"), id="by-name"),
        pytest.param((F,), "/tool id1 f", ("id1", "f"), id="by-id"),
        pytest.param((F,), "/tool 21 °C", ("id1", "21 °C"), id="the-only-one"),
        pytest.param((F, G), "/tool g  x", ("id2", "x"), id="of-two"),
        pytest.param((F, F2), "/tool f x", ("id1", "x"), id="first-of-the-name"),
        pytest.param((F,), "/tool f <b>x</b>", ("id1", "<b>x</b>"), id="no-file"),
    ],
)
def test_a_result_is_given_to_the_call_that_is_meant(chat, calls, typed, answered):
    chat.session.messages += [Message("user", "x"), Message("assistant", "", calls)]
    outcome = run_command(chat, typed)
    message = chat.session.messages[-1]
    assert (message.tool_call_id, message.content) == answered
    assert outcome.then == ("ask" if len(calls) > 1 else "answer again")
    assert ("waits" in outcome.text) == (len(calls) > 1)


def test_a_misspelt_name_of_the_only_call_is_not_taken_for_its_result(chat):
    call = ToolCall("get_weather", "{}", "id1")
    chat.session.messages += [Message("user", "x"), Message("assistant", "", (call,))]
    assert "/tool get_weather RESULT" in run_command(chat, "/tool get_wether 3").text
    assert find_waiting(chat.session.messages) == (call,)


@pytest.mark.parametrize("typed", ["/tool", "/tool f", "/tool h 1", "/tool f < /nowhere/at/all"])
def test_a_result_that_is_none_leaves_the_call_waiting_and_says_what_to_type(chat, typed):
    chat.session.messages += [Message("user", "x"), Message("assistant", "", (F, G))]
    outcome = run_command(chat, typed)
    assert outcome.then == "ask"
    assert "/tool f RESULT" in outcome.text or "/nowhere" in outcome.text
    assert find_waiting(chat.session.messages) == (F, G)


def test_a_result_is_read_from_a_file(chat, tmp_path):
    (tmp_path / "a result.json").write_text('{"a":\n1}')
    chat.session.messages += [Message("user", "x"), Message("assistant", "", (F,))]
    assert run_command(chat, f'/tool f < "{tmp_path}/a result.json"').then == "answer again"
    assert chat.session.messages[-1].content == '{"a":\n1}'
