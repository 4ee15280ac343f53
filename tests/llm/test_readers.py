"""Answers of models' APIs that are odd: each ends in a message or in a failure with its words."""

import json
from types import SimpleNamespace

import pytest

from dual_mode_streaming.llm import EventType, ProviderError, fold
from dual_mode_streaming.llm._readers import (
    AnthropicReader,
    ChatReader,
    ResponsesReader,
    error_of,
    object_of,
)


def read(reader, chunks, **end):
    """Return the events of a stream."""
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + reader.end(**end)


def chunk(delta=None, reason=None, **fields):
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}], **fields}


def calls(*pieces):
    return chunk({"tool_calls": list(pieces)})


def piece(index=0, identity=None, name=None, arguments=None, **fields):
    call = {"index": index, "function": {"name": name, "arguments": arguments}, **fields}
    return call if identity is None else {**call, "id": identity}


STOP = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")

TOOL_CALLS = {
    "in order": (
        [
            calls(piece(0, "a", "f", "")),
            calls(piece(0, arguments='{"x":')),
            calls(piece(0, arguments="1}")),
            calls(piece(1, "b", "g", '{"y":2}')),
        ],
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    "the index 0 for every call": (
        [calls(piece(0, "a", "f", '{"x":1}')), calls(piece(0, "b", "g", '{"y":2}'))],
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    "no index": (
        [
            calls({"id": "a", "function": {"name": "f", "arguments": '{"x":'}}),
            calls({"function": {"arguments": "1}"}}),
            calls({"id": "b", "function": {"name": "g", "arguments": "{}"}}),
        ],
        [("a", "f", '{"x":1}'), ("b", "g", "{}")],
    ),
    "an index that is null": (
        [calls(piece(None, "a", "f", '{"x":')), calls(piece(None, "a", None, "1}"))],
        [("a", "f", '{"x":1}')],
    ),
    "mixed": (
        [
            calls(piece(0, "a", "f", '{"x":'), piece(1, "b", "g", '{"y":')),
            calls(piece(1, arguments="2}")),
            calls(piece(0, arguments="1}")),
        ],
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    "a new id without a name": (
        [calls(piece(0, "a", "f", '{"x":')), calls(piece(0, "b", None, "1}"))],
        [("a", "f", '{"x":1}')],
    ),
    "an id that is empty later": (
        [calls(piece(0, "a", "f", '{"x":')), calls(piece(0, "", "", "1}"))],
        [("a", "f", '{"x":1}')],
    ),
    "a name that comes late": (
        [
            calls(piece(0, "a", None, '{"x":')),
            calls(piece(0, None, "f", None)),
            calls(piece(0, None, None, "1}")),
        ],
        [("a", "f", '{"x":1}')],
    ),
    "a name that is repeated": (
        [calls(piece(0, "a", "f", '{"x":')), calls(piece(0, "a", "f", "1}"))],
        [("a", "f", '{"x":1}')],
    ),
    "a function that is null": (
        [calls(piece(0, "a", "f", "{}")), calls({"index": 0, "function": None})],
        [("a", "f", "{}")],
    ),
    "arguments that are null": ([calls(piece(0, "a", "f", None))], [("a", "f", "{}")]),
    "arguments that are an object": (
        [calls(piece(0, "a", "f", {"x": 1}))],
        [("a", "f", '{"x": 1}')],
    ),
    "no id at all": ([calls(piece(0, None, "f", "{}"))], [("call_", "f", "{}")]),
    "no list but one call": (
        [chunk({"tool_calls": piece(0, "a", "f", "{}")})],
        [("a", "f", "{}")],
    ),
    "the old function call": (
        [
            chunk({"function_call": {"name": "f", "arguments": '{"x"'}}),
            chunk({"function_call": {"arguments": ":1}"}}),
        ],
        [("call_", "f", '{"x":1}')],
    ),
    "an object after another on the same index": (
        [
            calls(piece(0, "a", "f", "")),
            calls(piece(0, None, "", '{"x":1}')),
            calls(piece(0, None, "", '{"x":2}')),
        ],
        [("a", "f", '{"x":1}'), ("call_", "f", '{"x":2}')],
    ),
    "neither index nor id": (
        [calls({"function": {"name": "f", "arguments": "{}"}})] * 2,
        [("call_", "f", "{}"), ("call_", "f", "{}")],
    ),
    "the same id for two": (
        [calls(piece(0, "a", "f", "{}"), piece(1, "a", "g", "{}"))],
        [("a", "f", "{}"), ("call_", "g", "{}")],
    ),
    "the whole again at the end": (
        [calls(piece(0, "a", "f", '{"x":1}')), calls(piece(0, None, None, '{"x":1}'))],
        [("a", "f", '{"x":1}')],
    ),
    "indexes from 1, and out of order": (
        [calls(piece(2, "a", "f", "{}")), calls(piece(1, "b", "g", "{}"))],
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "an index that is text": (
        [calls(piece("0", "a", "f", '{"x":')), calls(piece(0, None, None, "1}"))],
        [("a", "f", '{"x":1}')],
    ),
    "neither function nor name": ([calls({"index": 0, "id": "a"})], [("a", "unknown", "{}")]),
    "null, text and numbers for calls": (
        [calls(None, "x", 5), calls(piece(0, "a", "f", "{}"))],
        [("a", "f", "{}")],
    ),
    "an index that is a list": ([calls(piece([1], "a", "f", "{}"))], [("a", "f", "{}")]),
}


@pytest.mark.parametrize("reason", [STOP, CALLED], ids=["stop", "tool_calls"])
@pytest.mark.parametrize("name", TOOL_CALLS)
def test_tool_calls_of_a_chat(name, reason):
    chunks, expected = TOOL_CALLS[name]
    events = read(ChatReader(), [*chunks, reason])
    answer = fold(events)
    made = [(c.id, c.name, c.arguments) for c in answer.message.tool_calls]
    made = [(i[:5] if i.startswith("call_") else i, *rest) for i, *rest in made]
    assert made == expected
    assert answer.finish_reason == "tool_calls"
    assert [e.tool_call.index for e in events if e.type is EventType.TOOL_CALL_START] == list(
        range(len(expected))
    )
    opened = None  # calls are one after the other: their pieces are not mixed
    for event in events:
        if event.type is EventType.TOOL_CALL_START:
            assert opened is None
            opened = event.tool_call.index
        elif event.tool_call is not None:
            assert event.tool_call.index == opened
            opened = None if event.type is EventType.TOOL_CALL_END else opened


CHATS = {
    "reasoning_content": ([chunk({"reasoning_content": "hm"}), chunk({"content": "a"})], "hm", "a"),
    "reasoning": ([chunk({"reasoning": "hm"}), chunk({"content": "a"})], "hm", "a"),
    "reasoning in two fields": (
        [
            chunk({"reasoning": "hm", "reasoning_details": [{"text": "hm"}]}),
            chunk({"content": "a"}),
        ],
        "hm",
        "a",
    ),
    "reasoning details": (
        [chunk({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}], "content": "a"})],
        "hm",
        "a",
    ),
    "a list of parts": (
        [
            chunk(
                {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
            ),
            chunk({"content": [{"type": "text", "text": "a"}, "b", None, 5]}),
        ],
        "hm",
        "ab",
    ),
    "no choices": ([{"choices": []}, {"choices": None}, {}, chunk({"content": "a"})], "", "a"),
    "a second choice": (
        [{"choices": [{"index": 1, "delta": {"content": "x"}}]}, chunk({"content": "a"})],
        "",
        "a",
    ),
    "a delta that is null": ([{"choices": [{"delta": None}]}, chunk({"content": "a"})], "", "a"),
    "a message in a stream": ([{"choices": [{"message": {"content": "a"}}]}], "", "a"),
    "parts that are refusals, images and references": (
        [
            chunk({"content": [{"type": "reference", "reference_ids": [1]}, {"type": "image"}]}),
            chunk({"content": [{"type": "text", "text": "a"}]}),
        ],
        "",
        "a",
    ),
    "old text": ([{"choices": [{"text": "a"}]}], "", "a"),
    "lone surrogates": ([chunk({"content": "a\ud83d"})], "", "a\ufffd"),
    "a surrogate pair in two": (
        [chunk({"content": "a\ud83d"}), chunk({"content": "\ude00"}), chunk({"content": "b"})],
        "",
        "a\U0001f600b",
    ),
    "null chunks": ([None, [], 5, True, chunk({"content": "a"})], "", "a"),
}


@pytest.mark.parametrize("name", CHATS)
def test_content_of_a_chat(name):
    chunks, thinking, text = CHATS[name]
    answer = fold(read(ChatReader(), [*chunks, STOP]))
    assert (answer.message.thinking, answer.message.content) == (thinking, text)
    assert answer.finish_reason == "stop"
    assert fold(read(ChatReader(), chunks, is_complete=True)).message == answer.message


USAGES = {
    "at the end": [chunk({"content": "a"}), STOP, {"choices": [], "usage": (3, 4)}],
    "in the last content chunk": [chunk({"content": "a"}, usage=(3, 4)), STOP],
    "null before": [chunk({"content": "a"}, usage=None), chunk({}, "stop", usage=(3, 4))],
    "in the choice": [{"choices": [{"delta": {"content": "a"}, "usage": (3, 4)}]}, STOP],
    "of Groq": [chunk({"content": "a"}, x_groq={"usage": (3, 4)}), STOP],
    "as text": [chunk({"content": "a"}, usage=("3", "4")), STOP],
    "in parts": [
        chunk({"content": "a"}, usage={"prompt_tokens": 3}),
        chunk({}, "stop", usage={"completion_tokens": 4, "prompt_tokens": None}),
    ],
    "with a null beside": [
        chunk({"content": "a"}, usage=(3, 4)),
        chunk({}, "stop", usage={"prompt_tokens": -1, "completion_tokens": "?"}),
    ],
}


def _with_usage(value):
    if isinstance(value, tuple):
        return {"prompt_tokens": value[0], "completion_tokens": value[1]}
    if isinstance(value, dict):
        return {name: _with_usage(field) for name, field in value.items()}
    return [_with_usage(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", USAGES)
def test_usage_of_a_chat(name):
    answer = fold(read(ChatReader(), _with_usage(USAGES[name])))
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 4)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("STOP", "stop"),
    ],
)
def test_reasons_of_a_chat(reason, expected):
    chunks = [chunk({"content": "a"}), chunk({}, reason), chunk({}, "stop")]
    assert fold(read(ChatReader(), chunks)).finish_reason == expected


def test_a_refusal_is_the_text_of_a_filtered_answer():
    answer = fold(read(ChatReader(), [chunk({"refusal": "No."}), STOP]))
    assert (answer.message.content, answer.finish_reason) == ("No.", "content_filter")


@pytest.mark.parametrize("chunks", [[], [chunk({"content": "a"})], [chunk({"role": "assistant"})]])
def test_a_cut_answer_is_a_failure(chunks):
    with pytest.raises(ProviderError) as failure:
        read(ChatReader(), chunks)
    assert failure.value.error_type == "stream_truncated"


def test_done_after_nothing_is_a_failure():
    with pytest.raises(ProviderError, match="without its final event"):
        read(ChatReader(), [chunk({"role": "assistant"})], is_complete=True)


@pytest.mark.parametrize(
    "reason", ["error", "ERROR", "abort", "network_error", "insufficient_system_resource"]
)
@pytest.mark.parametrize("before", [None, "stop"])
def test_reasons_that_are_failures(reason, before):
    with pytest.raises(ProviderError, match=reason.lower()):
        read(ChatReader(), [chunk({"content": "a"}, before), chunk({}, reason)])


def test_an_error_of_the_choice_is_a_failure():
    with pytest.raises(ProviderError, match="words") as failure:
        ChatReader().feed({"choices": [{"error": {"code": 429, "message": "words"}}]})
    assert failure.value.status == 429


def test_the_reason_error_is_a_failure():
    with pytest.raises(ProviderError) as failure:
        read(ChatReader(), [chunk({"content": "a"}), chunk({}, "error")])
    assert failure.value.error_type == "server"


ERRORS = [
    ({"error": {"message": "slow down", "code": 429}}, "slow down", "rate_limit", 429),
    ({"error": {"message": "slow down", "code": "429"}}, "slow down", "rate_limit", 429),
    ({"error": {"message": "bad", "code": 400}}, "bad", "invalid_request", 400),
    (
        {"error": {"message": "no", "code": "context_length_exceeded"}},
        "no",
        "invalid_request",
        None,
    ),
    ({"error": {"message": "no", "type": "overloaded_error"}}, "no", "overloaded", None),
    (
        {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}},
        "x",
        "rate_limit",
        None,
    ),
    ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, "x", "rate_limit", None),
    ({"error": "the model is not loaded"}, "the model is not loaded", "server", None),
    ({"detail": "not here"}, "not here", "server", None),
    ({"detail": [{"msg": "field required", "loc": ["body"]}]}, "field required", "server", None),
    ({"message": "over", "code": 503}, "over", "overloaded", 503),
    (
        [{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}],
        "x",
        "invalid_request",
        400,
    ),
    ({"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}, "x", "rate_limit", None),
    ({"error": {"code": None, "innererror": {}}}, "without a message", "server", None),
    ({"error": {"message": {"error": "deep"}}}, "deep", "server", None),
    ({"error": True}, "without a message", "server", None),
    (
        {"error": {"message": "x", "code": "InvalidApiKey"}},
        "refused the API",
        "authentication",
        None,
    ),
    ({"error": {"code": "429", "innererror": {"message": "deep"}}}, "deep", "rate_limit", 429),
    ({"error": {"code": "content_filter", "message": "x"}}, "x", "invalid_request", None),
    ({"error": "context_length_exceeded"}, "context_length", "invalid_request", None),
    ({"error": {"message": '{"error": {"message": "inner"}}'}}, "inner", "server", None),
    (
        {"error": {"message": "no", "code": 502, "metadata": {"raw": '{"message": "raw"}'}}},
        "no: raw",
        "server",
        502,
    ),
    ({"object": "error", "message": "x", "type": "BadRequestError"}, "x", "invalid_request", None),
    ({"type": "about:blank", "title": "t", "status": 503, "detail": "x"}, "x", "overloaded", 503),
    ({"errors": [{"code": 1, "message": "x"}], "success": False}, "x", "server", None),
    ({"throttlingException": {"message": "x"}}, "x", "rate_limit", None),
    ({"__type": "AccessDeniedException", "Message": "x"}, "x", "permission", None),
    ({"base_resp": {"status_code": 1002, "status_msg": "x"}, "choices": None}, "x", "server", None),
    ({"error": 429, "message": "x"}, "x", "rate_limit", 429),
    ({"error": "rate_limit_exceeded", "message": "x"}, "x", "rate_limit", None),
    ({"error": "model 'x' not found"}, "not found", "not_found", None),
    ({"fault": {"faultstring": "x"}}, "x", "server", None),
    ({"code": "429 Too Many Requests", "msg": "x"}, "x", "rate_limit", 429),
    ("<Error><Code>1</Code><Message>x y</Message></Error>", "(x y)", "server", None),
    (SimpleNamespace(error={"message": "of an object"}), "of an object", "server", None),
    ("<!DOCTYPE html><html><title>502 Bad\nGateway</title>", "502 Bad Gateway", "server", None),
    ("upstream connect error", "upstream connect error", "server", None),
]


@pytest.mark.parametrize(("body", "words", "kind", "status"), ERRORS)
@pytest.mark.parametrize("reader", [ChatReader, AnthropicReader, ResponsesReader])
def test_errors_in_a_success(reader, body, words, kind, status):
    for attempt in (reader().feed, reader().whole):
        with pytest.raises(ProviderError) as failure:
            attempt(body)
        assert words in str(failure.value)
        assert (failure.value.error_type, failure.value.status) == (kind, status)


@pytest.mark.parametrize("body", [None, "", [], {}, 5, True, {"choices": []}, {"choices": [{}]}])
@pytest.mark.parametrize("reader", [ChatReader, AnthropicReader, ResponsesReader])
def test_a_body_that_is_no_answer_is_a_failure(reader, body):
    with pytest.raises(ProviderError):
        reader().whole(body)


def test_the_words_about_a_refused_key_are_ours():
    error = error_of({"error": {"message": "key sk-secret is wrong", "code": 401}})
    assert "secret" not in str(error)


def block(index, kind, stop=True, deltas=(), **fields):
    yield {
        "type": "content_block_start",
        "index": index,
        "content_block": {"type": kind, **fields},
    }
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if stop:
        yield {"type": "content_block_stop", "index": index}


def partial(text):
    return {"type": "input_json_delta", "partial_json": text}


def ended(reason="end_turn", **usage):
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage},
        {"type": "message_stop"},
    ]


TEXT = {"type": "text_delta", "text": "a"}
MESSAGES = {
    "text": ([*block(0, "text", deltas=[TEXT, TEXT], text="")], "aa", []),
    "text in the start": ([*block(0, "text", text="a")], "a", []),
    "thinking and a redacted one": (
        [
            *block(0, "thinking", thinking="hm", signature="s"),
            *block(1, "redacted_thinking", data="x"),
            *block(2, "text", text="a"),
        ],
        "a",
        [],
    ),
    "a tool without arguments": (
        [*block(0, "tool_use", id="t", name="f", input={})],
        "",
        [("t", "f", "{}")],
    ),
    "an empty piece of arguments": (
        [*block(0, "tool_use", deltas=[partial("")], id="t", name="f", input={})],
        "",
        [("t", "f", "{}")],
    ),
    "arguments in the start": (
        [*block(0, "tool_use", id="t", name="f", input={"x": 1})],
        "",
        [("t", "f", '{"x": 1}')],
    ),
    "arguments in both": (
        [*block(0, "tool_use", deltas=[partial('{"x":1}')], id="t", name="f", input={"x": 1})],
        "",
        [("t", "f", '{"x":1}')],
    ),
    "blocks that never end": (
        [
            *block(0, "text", False, [TEXT], text=""),
            *block(1, "tool_use", False, id="t", name="f", input={"x": 1}),
        ],
        "a",
        [("t", "f", '{"x": 1}')],
    ),
    "a delta without a start": (
        [{"type": "content_block_delta", "index": 7, "delta": TEXT}],
        "a",
        [],
    ),
    "a tool of the server": (
        [
            *block(0, "server_tool_use", id="s", name="web_search", input={}),
            *block(1, "web_search_tool_result", tool_use_id="s", content=[]),
            *block(2, "text", text="a"),
        ],
        "a",
        [],
    ),
    "unknown events": (
        [{"type": "ping"}, {"type": "new"}, {}, None, *block(0, "text", text="a")],
        "a",
        [],
    ),
}


@pytest.mark.parametrize("start", [True, False], ids=["start", "no start"])
@pytest.mark.parametrize("name", MESSAGES)
def test_content_of_a_message(name, start):
    events, text, made = MESSAGES[name]
    begin = {"type": "message_start", "message": {"usage": {"input_tokens": 3}}}
    stream = [*([begin] if start else []), *events, *ended(output_tokens=4, input_tokens=None)]
    answer = fold(read(AnthropicReader(), stream))
    assert answer.message.content == text
    assert [(c.id, c.name, c.arguments) for c in answer.message.tool_calls] == made
    assert answer.finish_reason == ("tool_calls" if made else "stop")
    assert answer.usage.output_tokens == 4
    assert answer.usage.input_tokens == (3 if start else 0)


def test_a_message_that_stops_without_a_reason_is_complete():
    stream = [*block(0, "text", text="a"), {"type": "message_stop"}]
    assert fold(read(AnthropicReader(), stream)).finish_reason == "stop"


@pytest.mark.parametrize("stream", [[], [*block(0, "text", text="a")], [{"type": "message_stop"}]])
def test_a_cut_message_is_a_failure(stream):
    with pytest.raises(ProviderError):
        read(AnthropicReader(), stream)


def response(kind, **fields):
    return {"type": f"response.{kind}", **fields}


FUNCTION = {"type": "function_call", "id": "fc", "call_id": "t", "name": "f"}
WHOLE = {"type": "message", "content": [{"text": "a"}]}
COMPLETED = response(
    "completed",
    response={"status": "completed", "usage": {"input_tokens": 3, "output_tokens": 4}},
)
RESPONSES = {
    "parts": (
        [
            response("output_text.delta", output_index=0, delta="a"),
            response(
                "output_item.done",
                output_index=0,
                item={"type": "message", "content": [{"text": "a"}]},
            ),
        ],
        "a",
        [],
    ),
    "a whole item": (
        [
            response(
                "output_item.done",
                output_index=0,
                item={"type": "message", "content": [{"text": "a"}]},
            )
        ],
        "a",
        [],
    ),
    "a function": (
        [
            response("output_item.added", output_index=0, item={**FUNCTION, "arguments": ""}),
            response("function_call_arguments.delta", output_index=0, delta='{"x":'),
            response("function_call_arguments.delta", output_index=0, delta="1}"),
            response("output_item.done", output_index=0, item={**FUNCTION, "arguments": '{"x":1}'}),
        ],
        "",
        [("t", "f", '{"x":1}')],
    ),
    "a whole function": (
        [response("output_item.done", output_index=0, item={**FUNCTION, "arguments": '{"x":1}'})],
        "",
        [("t", "f", '{"x":1}')],
    ),
    "a function without arguments": (
        [response("output_item.done", output_index=0, item={**FUNCTION, "arguments": ""})],
        "",
        [("t", "f", "{}")],
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_content_of_a_response(name):
    events, text, made = RESPONSES[name]
    answer = fold(read(ResponsesReader(), [response("created"), *events, COMPLETED]))
    assert answer.message.content == text
    assert [(c.id, c.name, c.arguments) for c in answer.message.tool_calls] == made
    assert answer.finish_reason == ("tool_calls" if made else "stop")
    assert answer.usage.total_tokens == 7


def test_a_response_that_only_ends_is_read_whole():
    output = [
        {"type": "reasoning", "summary": [{"text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
        {**FUNCTION, "arguments": "{}"},
    ]
    body = {"status": "completed", "output": output, "usage": {"input_tokens": 1}}
    streamed = fold(read(ResponsesReader(), [response("completed", response=body)]))
    assert streamed == ResponsesReader().whole(body)
    assert (streamed.message.thinking, streamed.message.content) == ("hm", "a")


@pytest.mark.parametrize("at", [{}, {"output_index": 0}, {"item_id": "m"}, {"output_index": None}])
@pytest.mark.parametrize("done", [True, False])
def test_parts_of_a_response_are_read_once_however_their_item_is_named(at, done):
    whole = {"id": "m", "type": "message", "content": [{"type": "output_text", "text": "ab"}]}
    call = {**FUNCTION, "arguments": '{"x":1}'}
    events = [response("output_text.delta", delta=text, **at) for text in "ab"]
    if done:
        events += [response("output_text.done", text="ab", **at)]
        events += [response("output_item.done", item=whole, **at)]
    events += [
        response("output_item.added", output_index=1, item={**FUNCTION, "arguments": ""}),
        response("function_call_arguments.delta", output_index=1, delta='{"x":1}'),
        response("completed", response={"status": "completed", "output": [whole, call]}),
    ]
    message = fold(read(ResponsesReader(), events)).message
    assert message.content == "ab"
    assert [(c.name, c.arguments) for c in message.tool_calls] == [("f", '{"x":1}')]


def test_parts_of_a_response_that_only_end_are_read():
    events = [
        response("output_text.done", output_index=0, text="a"),
        response("refusal.done", output_index=1, refusal="No."),
        response("function_call_arguments.done", output_index=2, name="f", arguments="{}"),
        COMPLETED,
    ]
    message = fold(read(ResponsesReader(), events)).message
    assert (message.content, message.refusal) == ("aNo.", "No.")
    assert [call.name for call in message.tool_calls] == ["f"]


def test_a_cancelled_response_is_a_failure():
    events = [response("output_text.delta", delta="a")]
    events += [response("cancelled", response={"status": "cancelled"})]
    with pytest.raises(ProviderError, match="cancelled"):
        read(ResponsesReader(), events)


def test_a_reason_that_calls_tools_without_a_call_is_a_stop():
    assert fold(read(ChatReader(), [chunk({"content": "a"}), CALLED])).finish_reason == "stop"


def test_a_response_that_failed_is_a_failure():
    failed = {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}
    with pytest.raises(ProviderError, match="slow") as failure:
        ResponsesReader().feed(response("failed", response=failed))
    assert failure.value.error_type == "rate_limit"


def test_an_incomplete_response_tells_why():
    body = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    events = [
        response("output_text.delta", output_index=0, delta="a"),
        response("incomplete", response=body),
    ]
    assert fold(read(ResponsesReader(), events)).finish_reason == "length"


ARGUMENTS = {
    "": {},
    " ": {},
    "{}": {},
    '{"x": 1}': {"x": 1},
    '{"x":[1,{"y":"z"},[]],"a":{},"b":[{}]}': {"x": [1, {"y": "z"}, []], "a": {}, "b": [{}]},
    '{"x":"\\u00e9\\n\\"{}"}': {"x": 'é\n"{}'},
    # cut
    "{": {},
    '{"': {"": None},
    '{"x': {"x": None},
    '{"x"': {"x": None},
    '{"x":': {"x": None},
    '{"x":"a': {"x": "a"},
    '{"x":"a\\': {"x": "a"},
    '{"x":"a\\u00e': {"x": "a"},
    '{"x":1,': {"x": 1},
    '{"x":1, "y"': {"x": 1, "y": None},
    '{"x":tr': {"x": True},
    '{"x":-': {"x": 0},
    '{"x":1.': {"x": 1.0},
    '{"x":1e': {"x": 1},
    '{"x":[': {"x": []},
    '{"x":[1,': {"x": [1]},
    '{"x":[{"y":[2': {"x": [{"y": [2]}]},
    # what models write
    '{"x":1,}': {"x": 1},
    '{"x":[1,],}': {"x": [1]},
    '{"x":True,"y":None,"z":NaN}': {"x": True, "y": None, "z": None},
    '{"x":"a\nb\tc"}': {"x": "a\nb\tc"},
    '{"x":"it\\\'s \\d"}': {"x": "it\\'s \\d"},
    '{"x":1} and so on': {"x": 1},
    '{"x":1}}': {"x": 1},
    '{}{"x":1}': {"x": 1},
    '{"x":1 "y":2}': {"x": 1},
    '{"x": @}': {"x": None},
    # no objects
    "null": {},
    '""': {},
    "5": {"value": 5},
    "[1]": {"value": [1]},
    '"{\\"x\\":1}"': {"x": 1},
    "Paris": {"cut": "Paris"},
    "{'x': 1}": {"cut": "{'x': 1}"},
    "{x: 1}": {"cut": "{x: 1}"},
}


@pytest.mark.parametrize("text", ARGUMENTS)
def test_arguments_are_a_valid_object_wherever_they_are_cut(text):
    for size in (1, 2, 3, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        chunks = [calls(piece(0, "a", "f")), *(calls(piece(0, arguments=p)) for p in pieces)]
        answer = fold(read(ChatReader(), [*chunks, chunk({}, "length")]))
        assert json.loads(answer.message.tool_calls[0].arguments) == ARGUMENTS[text]
    whole = {"choices": [{"message": {"tool_calls": [piece(0, "a", "f", text)]}}]}
    made = ChatReader().whole(whole).message.tool_calls[0].arguments
    assert made == answer.message.tool_calls[0].arguments


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"x": 1}, {"x": 1}), ([1], {"value": [1]}), (5, {"value": 5}), (True, {"value": True})],
)
@pytest.mark.parametrize("reader", ["chat", "messages", "responses"])
def test_arguments_that_are_values_are_an_object(reader, given, expected):
    body = {
        "chat": {"choices": [{"message": {"tool_calls": [piece(0, "a", "f", given)]}}]},
        "messages": {"content": [{"type": "tool_use", "id": "a", "name": "f", "input": given}]},
        "responses": {"output": [{"type": "function_call", "name": "f", "arguments": given}]},
    }[reader]
    made = {"chat": ChatReader, "messages": AnthropicReader, "responses": ResponsesReader}[reader]()
    assert json.loads(made.whole(body).message.tool_calls[0].arguments) == expected


THINKING = {
    "signed, and another": (
        AnthropicReader(),
        lambda: [
            *block(0, "thinking", thinking="", signature="", deltas=[HM, signed("s")]),
            *block(1, "thinking", thinking="", signature="", deltas=[HM, signed("t")]),
            *ended(),
        ],
        [("hm", "s", None), ("hm", "t", None)],
    ),
    "signed without words": (
        AnthropicReader(),
        lambda: [
            *block(0, "thinking", thinking="", signature="", deltas=[signed("s")]),
            *block(1, "thinking", thinking="hm", signature="t"),
            *ended(),
        ],
        [("", "s", None), ("hm", "t", None)],
    ),
    "redacted between": (
        AnthropicReader(),
        lambda: [
            *block(0, "thinking", thinking="", deltas=[HM, signed("s")]),
            *block(1, "redacted_thinking", data="x"),
            *block(2, "redacted_thinking", data="y"),
            *ended(),
        ],
        [("hm", "s", None), ("", None, "x"), ("", None, "y")],
    ),
    "of OpenRouter": (
        ChatReader(),
        lambda: [
            chunk({"reasoning": "hm", "reasoning_details": [{"text": "hm", "signature": "s"}]}),
            chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, "stop"),
        ],
        [("hm", "s", None), ("", None, "x")],
    ),
    "of LiteLLM": (
        ChatReader(),
        lambda: [
            chunk({"thinking_blocks": [{"thinking": "hm"}]}),
            chunk({"thinking_blocks": [{"thinking": "", "signature": "s"}]}, "stop"),
        ],
        [("hm", "s", None)],
    ),
    "plain": (ChatReader(), lambda: [chunk({"reasoning": "hm"}, "stop")], []),
}
HM = {"type": "thinking_delta", "thinking": "hm"}


def signed(signature):
    return {"type": "signature_delta", "signature": signature}


@pytest.mark.parametrize("name", THINKING)
def test_blocks_of_thinking_are_kept_with_their_signatures(name):
    reader, chunks, expected = THINKING[name]
    message = fold(read(reader, chunks())).message
    assert [(b.content, b.signature, b.redacted) for b in message.thinking_blocks] == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            (9, 8, 4, 0, 5),
        ),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "total_tokens": 12}, (9, 3, 4, 0, 0)),
        (
            {"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None},
            (9, 0) * 1,
        ),
        ({"prompt_tokens": 2, "completion_tokens": 1, "prompt_tokens_details": [5]}, (2, 1)),
        ({"prompt_tokens": True, "completion_tokens": [1]}, (0, 0)),
        ({"prompt_tokens": 1.0, "completion_tokens": "7"}, (1, 7)),
        ([1], (0, 0)),
        ("many", (0, 0)),
    ],
)
def test_details_of_the_usage_of_a_chat(usage, expected):
    used = fold(read(ChatReader(), [chunk({"content": "a"}, "stop", usage=usage)])).usage
    assert tuple(used.model_dump().values()) == (*expected, 0, 0, 0)[:5]


def test_the_usage_of_messages_counts_the_cache_as_input():
    start = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10}
    events = [{"type": "message_start", "message": {"usage": start}}, *block(0, "text", text="a")]
    answer = fold(read(AnthropicReader(), [*events, *ended(output_tokens=4, input_tokens=3)]))
    assert tuple(answer.usage.model_dump().values()) == (113, 4, 100, 10, 0)


def test_a_refusal_is_marked():
    answer = fold(read(ChatReader(), [chunk({"content": "a", "refusal": "No."}), STOP]))
    assert (answer.message.content, answer.message.refusal) == ("aNo.", "No.")


@pytest.mark.parametrize(
    ("text", "value"),
    [("", {}), ('{"a":1}', {"a": 1}), ('{"a":', {"cut": '{"a":'}), ("5", {"value": 5})],
)
def test_arguments_of_a_history_are_an_object(text, value):
    assert object_of(text) == value
