import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.conversation import Message, ToolCall
from localfirst.errors import UsageError
from localfirst.services.messages import parse_messages

USER = {"role": "user", "content": "Weather?"}


def calling(arguments='{"city": "Köln"}', **changed):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}} | changed
    return {"role": "assistant", "content": None, "tool_calls": [call]}


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "21°C"}


@pytest.mark.parametrize("arguments", ['{"city": "Köln"}', {"city": "Köln"}, '{"city":\n"K\\u00f6ln"}'])
def test_calls_and_results_are_read_in_openai_s_form(arguments):
    assert parse_messages([USER, calling(arguments), RESULT]) == (
        Message("user", "Weather?"),
        Message("assistant", "", (ToolCall("f", '{"city": "Köln"}', "call_1"),)),
        Message("tool", "21°C", tool_call_id="call_1", name="f"),
    )


def test_content_in_parts_is_one_text_and_a_developer_is_the_system():
    parts = [{"type": "text", "text": "Wea"}, {"type": "text", "text": "ther?"}]
    assert parse_messages([{"role": "developer", "content": "s"}, {"role": "user", "content": parts}]) == (
        Message("system", "s"),
        Message("user", "Weather?"),
    )


def test_a_question_is_a_message_and_no_arguments_are_an_empty_object():
    assert parse_messages("hi") == (Message("user", "hi"),)
    assert parse_messages([calling("")])[0].tool_calls[0].arguments_json == "{}"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "robot", "content": "hi"}], "Message 1 needs `role`"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "Message 1 has a part that is no text: 'image_url'"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], "Message 1 has a part that is no text"),
        ([{"role": "user", "content": ["hi"]}], "Message 1 has a part that is no text"),
        ([{"role": "assistant", "content": None}], "Message 1 needs `role`"),
        ([USER, RESULT], "Message 2 needs a `tool_call_id` that a call before it has"),
        ([calling(), {"role": "tool", "content": "x"}], "Message 2 needs a `tool_call_id`"),
        ([calling(), {**RESULT, "tool_call_id": "call_2"}], "Message 2 needs a `tool_call_id`"),
        ([calling(), {**RESULT, "content": None}], "Message 2 needs `role`"),
        ([{**calling(), "role": "user"}], "Message 1 has `tool_calls`"),
        ([calling(id=None)], "without an `id`"),
        ([calling(function="f")], "without a `function`"),
        ([calling("[]")], "no JSON object"),
        ([calling("{")], "no JSON object"),
        ([calling('{"n": NaN}')], "no JSON object"),
        ([calling({"n": {1}})], "no JSON object"),
        ([{**calling(), "tool_calls": [3]}], "without a `function`"),
        ([{**calling(), "tool_calls": 3}], "Message 1 "),
        ([3], "Message 1 "),
    ],
)
def test_a_wrong_message_is_named_by_its_number_with_what_it_lacks(messages, says):
    with pytest.raises(UsageError, match=says) as caught:
        parse_messages(messages)
    assert caught.value.detail


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["role", "content", "tool_calls", "tool_call_id"]),
            st.recursive(
                st.none() | st.integers() | st.sampled_from(["user", "assistant", "tool", "x"]),
                lambda child: st.lists(child) | st.dictionaries(st.sampled_from(["id", "function", "name"]), child),
            ),
        )
    )
)
def test_foreign_json_is_messages_or_a_usage_error(messages):
    with contextlib.suppress(UsageError):
        assert len(parse_messages(messages)) == len(messages)
