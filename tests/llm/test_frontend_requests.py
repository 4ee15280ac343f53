"""The messages of front ends as requests to a model: of the AI SDK, and of AG-UI."""

import pytest

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire import AGUIRun, UIChat

IMAGE = "data:image/png;base64,aGk="


def said(request):
    return [
        (
            m.role,
            m.text,
            [p.type for p in m.parts if p.type != "text"],
            [c.id for c in m.tool_calls],
        )
        for m in request.messages
    ]


def test_the_messages_of_usechat_as_a_request():
    done = {"state": "output-available", "input": {"a": 1}}
    parts = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool-weather", "toolCallId": "c1", "output": {"degrees": 7}, **done},
        {"type": "dynamic-tool", "toolName": "time", "toolCallId": "c2", "output": "12", **done},
        {"type": "tool-weather", "toolCallId": "c3", "state": "input-available", "input": {}},
        {"type": "tool-x", "toolCallId": "c4", "state": "output-error", "errorText": "no"},
        {"type": "step-start"},
        {"type": "text", "text": "7 degrees."},
        {"type": "data-weather", "data": {}},
        {"type": "source-url", "url": "x"},
    ]
    file = {"type": "file", "mediaType": "image/png", "url": IMAGE}
    pdf = {
        "type": "file",
        "mediaType": "application/pdf",
        "url": "https://x/y.pdf",
        "filename": "y",
    }
    chat = UIChat.model_validate(
        {
            "id": "c",
            "extra": 1,
            "messages": [
                {"role": "system", "parts": [{"type": "text", "text": "Be brief."}]},
                {"role": "user", "parts": [{"type": "text", "text": "Hi"}, file, pdf]},
                {"role": "assistant", "parts": parts},
                {"role": "assistant", "parts": []},
                {"role": "user", "parts": [{"type": "text", "text": "More"}]},
            ],
        }
    )
    request = chat.chat(model="m", max_tokens=None)
    assert said(request) == [
        ("system", "Be brief.", [], []),
        ("user", "Hi", ["image", "file"], []),
        ("assistant", "Let me see.", [], ["c1", "c2", "c4"]),
        ("tool", '{"degrees": 7}', [], []),
        ("tool", "12", [], []),
        ("tool", "no", [], []),
        ("assistant", "7 degrees.", [], []),
        ("user", "More", [], []),
    ]
    assert request.messages[5].is_error
    assert request.model == "m"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user"},
        {"role": "robot", "parts": [{"type": "text", "text": "x"}]},
        {"role": "user", "parts": [{"type": "text", "text": 1}]},
        {"role": "user", "parts": [{"type": "file", "url": 1, "mediaType": "image/png"}]},
        {"role": "user", "parts": "x"},
    ],
)
def test_a_wrong_message_of_usechat_is_a_problem_that_names_it(message):
    with pytest.raises(Problem, match="messages") as refused:
        UIChat.model_validate({"id": "c", "messages": [message]}).chat()
    assert refused.value.status_code == 400


def test_a_conversation_without_messages_is_a_problem_in_one_clear_line():
    with pytest.raises(Problem) as refused:
        UIChat(id="c", messages=[]).chat()
    assert refused.value.detail == "messages: at least one message is required"


def test_the_messages_of_ag_ui_as_a_request():
    hello = {"type": "text", "text": "Hi"}
    call = {"id": "c1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    image = {"type": "image", "source": {"type": "data", "value": "aGk=", "mimeType": "image/png"}}
    old = {"type": "binary", "mimeType": "image/png", "data": "aGk="}
    pdf = {"type": "document", "source": {"type": "url", "value": "https://x/y.pdf"}}
    run = AGUIRun.model_validate(
        {
            "threadId": "t",
            "runId": "r",
            "tools": [{"name": "t", "description": "d", "parameters": {"type": "object"}}],
            "messages": [
                {"id": "1", "role": "developer", "content": "Be brief."},
                {
                    "id": "2",
                    "role": "user",
                    "content": [hello, image, old],
                },
                {"id": "3", "role": "user", "content": [pdf]},
                {"id": "4", "role": "reasoning", "content": "hm"},
                {"id": "5", "role": "assistant", "content": None, "toolCalls": [call]},
                {"id": "6", "role": "tool", "content": "no", "toolCallId": "c1", "error": "no"},
            ],
        }
    )
    request = run.chat()
    assert said(request) == [
        ("system", "Be brief.", [], []),
        ("user", "Hi", ["image", "image"], []),
        ("user", "", ["file"], []),
        ("assistant", "", [], ["c1"]),
        ("tool", "no", [], []),
    ]
    assert [tool.name for tool in request.tools] == ["t"]
    with pytest.raises(Problem, match="messages"):
        run.model_copy(update={"messages": [{"role": "user", "content": [{"type": "?"}]}]}).chat()


CALL = {"type": "tool-pay", "toolCallId": "c1", "input": {"sum": 3}}


@pytest.mark.parametrize(
    ("approval", "result"),
    [
        ({"id": "x", "approved": False}, "the user denied it"),
        ({"id": "x", "approved": False, "reason": "too much"}, "too much"),
    ],
)
@pytest.mark.parametrize("state", ["approval-responded", "output-denied"])
def test_a_call_that_the_user_denied_is_told_to_the_model(state, approval, result):
    parts = [CALL | {"state": state, "approval": approval}]
    messages = [user("Pay."), {"role": "assistant", "parts": parts}]
    *_, told = UIChat(id="c", messages=messages).chat().messages
    assert (told.role, told.text, told.is_error) == ("tool", result, True)


@pytest.mark.parametrize("state", ["input-streaming", "input-available", "approval-requested"])
def test_a_call_that_is_not_over_is_not_sent(state):
    parts = [CALL | {"state": state}]
    messages = [user("Pay."), {"role": "assistant", "parts": parts}, user("Well?")]
    roles = [message.role for message in UIChat(id="c", messages=messages).chat().messages]
    assert roles == ["user", "user"]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{"type": "text", "text": ""}],
        [{"type": "data-x", "data": 1}],
        [{"type": "step-start"}],
        [{"type": "source-url", "sourceId": "s", "url": "https://example.com"}],
        [{"type": "reasoning", "text": "hm"}],
        [None, "x", {}],
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_message_without_anything_for_a_model_is_left_out(role, parts):
    messages = [user("Hi"), {"role": role, "parts": parts}, user("So?")]
    said = [message.text for message in UIChat(id="c", messages=messages).chat().messages]
    assert said == ["Hi", "So?"]


@pytest.mark.parametrize("content", ["", None, [], [{"type": "text", "text": ""}]])
@pytest.mark.parametrize("role", ["user", "assistant", "developer"])
def test_a_message_of_ag_ui_without_content_is_left_out(role, content):
    hi = {"id": "u", "role": "user", "content": "Hi"}
    messages = [hi, {"id": "m", "role": role, "content": content}, hi]
    run = AGUIRun(threadId="t", runId="r", messages=messages, tools=None, context=None, resume=None)
    assert [message.text for message in run.chat().messages] == ["Hi", "Hi"]


def test_a_call_of_ag_ui_without_a_result_is_left_out():
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    messages = [
        {"id": "1", "role": "user", "content": "Hi"},
        {"id": "2", "role": "assistant", "toolCalls": calls},
        {"id": "3", "role": "tool", "toolCallId": "b", "content": "7"},
        {"id": "4", "role": "assistant", "toolCalls": [{**calls[0], "id": "c"}]},
        {"id": "5", "role": "user", "content": "And?"},
    ]
    made = AGUIRun(threadId="t", runId="r", messages=messages).chat().messages
    assert [message.role for message in made] == ["user", "assistant", "tool", "user"]
    assert [call.id for call in made[1].tool_calls] == ["b"]


def user(text):
    return {"role": "user", "parts": [{"type": "text", "text": text}]}
