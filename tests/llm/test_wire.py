"""The frames of the wire formats, byte for byte."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_mode_streaming import EventDecoder
from dual_mode_streaming.llm import (
    EventType,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    fold,
)
from dual_mode_streaming.llm.wire import (
    AnthropicMessages,
    ChatCompletionFrames,
    MessageFrames,
    OpenAIResponses,
    ResponseFrames,
    response_object,
)

HEAD = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m"'


def text(content):
    return StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=content))


def thought(content="", signature=None, redacted=None):
    delta = ThinkingDelta(content=content, signature=signature, redacted=redacted)
    return StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=delta)


def call(kind, index, **fields):
    delta = ToolCallDelta(index=index, **fields)
    return StreamEvent(type=f"tool_call_{kind}", tool_call=delta)


def complete(reason, **fields):
    usage = Usage(input_tokens=3, output_tokens=5)
    return StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason=reason, usage=usage, **fields)


ANSWER = [
    thought("Hm."),
    thought(signature="s1"),
    text("Hi"),
    text("\u2028"),
    call("start", 0, id="c0", name="f"),
    call("delta", 0, arguments='{"a"'),
    call("delta", 0, arguments=":1}"),
    call("end", 0),
    call("start", 1, id="c1", name="g"),
    call("delta", 1, arguments="{}"),
    call("end", 1),
    complete("tool_calls"),
]


def test_chat_completion_chunks():
    frames = ChatCompletionFrames("chatcmpl-1", "m", usage_chunk=True, created=7)
    sent = frames.opening() + b"".join(map(frames.item, ANSWER)) + frames.done()

    def chunk(delta, reason="null"):
        choice = f'{{"index":0,"delta":{delta},"finish_reason":{reason}}}'
        return f'data: {{{HEAD},"choices":[{choice}],"usage":null}}\n\n'

    def tool(part):
        return chunk(f'{{"tool_calls":[{part}]}}')

    usage = (
        '{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,'
        '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
        '"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
        '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    )
    assert sent.decode() == "".join(
        [
            chunk('{"role":"assistant","content":""}'),
            chunk('{"reasoning_content":"Hm."}'),
            chunk('{"content":"Hi"}'),
            chunk('{"content":"\\u2028"}'),
            tool('{"index":0,"id":"c0","type":"function","function":{"name":"f","arguments":""}}'),
            tool('{"index":0,"function":{"arguments":"{\\"a\\""}}'),
            tool('{"index":0,"function":{"arguments":":1}"}}'),
            tool('{"index":1,"id":"c1","type":"function","function":{"name":"g","arguments":""}}'),
            tool('{"index":1,"function":{"arguments":"{}"}}'),
            chunk("{}", '"tool_calls"'),
            f'data: {{{HEAD},"choices":[],"usage":{usage}}}\n\n',
            "data: [DONE]\n\n",
        ]
    )


def test_chunks_without_usage_do_not_mention_it():
    frames = ChatCompletionFrames("chatcmpl-1", "m", created=7)
    sent = frames.opening() + frames.item(text("100% {}")) + frames.item(complete("stop"))
    assert b"usage" not in sent
    assert b'{"content":"100% {}"}' in sent


@pytest.mark.parametrize("model", ["m", "100%b %s", 'quo"te', "é"])
def test_any_model_name_is_framed(model):
    frames = ChatCompletionFrames("chatcmpl-1", model)
    (event,) = EventDecoder().feed(frames.item(text("x")))
    assert json.loads(event.data)["model"] == model


def test_message_events():
    frames = MessageFrames("msg_1", "m", "req_1", input_tokens=3)
    sent = frames.opening() + b"".join(map(frames.item, ANSWER)) + frames.done()

    def frame(name, rest):
        return f'event: {name}\ndata: {{"type":"{name}"{rest}}}\n\n'

    def start(index, block):
        return frame("content_block_start", f',"index":{index},"content_block":{block}')

    def delta(index, change):
        return frame("content_block_delta", f',"index":{index},"delta":{change}')

    def stop(index):
        return frame("content_block_stop", f',"index":{index}')

    def usage(output, rest=""):
        return (
            f'{{"input_tokens":3,"output_tokens":{output},"cache_creation_input_tokens":0,'
            '"cache_read_input_tokens":0,"output_tokens_details":{"thinking_tokens":0},'
            f'"server_tool_use":null{rest}}}'
        )

    only_at_the_start = (
        ',"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},'
        '"inference_geo":null,"service_tier":"standard"'
    )
    message = (
        '{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],'
        '"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,'
        f'"usage":{usage(1, only_at_the_start)}}}'
    )
    caller = '"caller":{"type":"direct"}'
    assert sent.decode() == "".join(
        [
            frame("message_start", f',"message":{message}'),
            start(0, '{"type":"thinking","thinking":"","signature":""}'),
            delta(0, '{"type":"thinking_delta","thinking":"Hm."}'),
            delta(0, '{"type":"signature_delta","signature":"s1"}'),
            stop(0),
            start(1, '{"type":"text","text":"","citations":[]}'),
            delta(1, '{"type":"text_delta","text":"Hi"}'),
            delta(1, '{"type":"text_delta","text":"\\u2028"}'),
            stop(1),
            start(2, f'{{"type":"tool_use","id":"c0","name":"f","input":{{}},{caller}}}'),
            delta(2, '{"type":"input_json_delta","partial_json":"{\\"a\\""}'),
            delta(2, '{"type":"input_json_delta","partial_json":":1}"}'),
            stop(2),
            start(3, f'{{"type":"tool_use","id":"c1","name":"g","input":{{}},{caller}}}'),
            delta(3, '{"type":"input_json_delta","partial_json":"{}"}'),
            stop(3),
            frame(
                "message_delta",
                ',"delta":{"stop_reason":"tool_use","stop_sequence":null,"stop_details":null,'
                f'"container":null}},"usage":{usage(5)}',
            ),
            frame("message_stop", ""),
        ]
    )


def test_response_events(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 7.5)
    frames = ResponseFrames("1", {"model": "m"})
    items = b"".join(map(frames.item, ANSWER))
    sent = frames.opening() + items + frames.done()  # the opening is made when items are there
    numbers = itertools.count()

    def frame(name, rest):
        number = next(numbers)
        return f'event: {name}\ndata: {{"type":"{name}","sequence_number":{number},{rest}}}\n\n'

    def delta(name, where, text):
        rest = f'{where},"sequence_number":{next(numbers)},"delta":{json.dumps(text)}'
        return f'event: {name}.delta\ndata: {{"type":"{name}.delta",{rest}}}\n\n'

    def response(status, output, usage):
        done = 7 if status == "completed" else "null"
        return (
            f'"response":{{"id":"resp_1","object":"response","created_at":7,'
            f'"completed_at":{done},"status":"{status}",'
            f'"error":null,"incomplete_details":null,"model":"m","output":[{output}],'
            f'"usage":{usage}}}'
        )

    def item(index, rest):
        return f'"output_index":{index},"item":{{{rest}}}'

    def thinking(status, content, sealed=""):
        return (
            f'"type":"reasoning","id":"rs_1_0","status":"{status}","summary":[],'
            f'"content":[{content}]{sealed}'
        )

    def message(status, content):
        head = f'"type":"message","id":"msg_1_1","status":"{status}"'
        return f'{head},"role":"assistant","content":[{content}]'

    def call(index, status, name, arguments):
        return (
            f'"type":"function_call","id":"fc_1_{index}","status":"{status}",'
            f'"call_id":"c{index - 2}","name":"{name}","arguments":{json.dumps(arguments)}'
        )

    def thought_part(text):
        return f'{{"type":"reasoning_text","text":"{text}"}}'

    def text_part(text):
        return f'{{"type":"output_text","text":"{text}","annotations":[],"logprobs":[]}}'

    here = '"item_id":"rs_1_0","output_index":0,"content_index":0'
    there = '"item_id":"msg_1_1","output_index":1,"content_index":0'
    encoded = "Hi\\u2028"
    added, done = "response.output_item.added", "response.output_item.done"
    reasoned = thinking("completed", thought_part("Hm."), ',"encrypted_content":"s1"')
    spoken = message("completed", text_part(encoded))
    calls = [call(2, "completed", "f", '{"a":1}'), call(3, "completed", "g", "{}")]
    output = ",".join(f"{{{one}}}" for one in (reasoned, spoken, *calls))
    usage = (
        '{"input_tokens":3,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},'
        '"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":8}'
    )
    arguments = "response.function_call_arguments"
    assert sent.decode() == "".join(
        [
            frame("response.created", response("in_progress", "", "null")),
            frame("response.in_progress", response("in_progress", "", "null")),
            frame(added, item(0, thinking("in_progress", ""))),
            frame("response.content_part.added", f'{here},"part":{thought_part("")}'),
            delta("response.reasoning_text", here, "Hm."),
            frame("response.reasoning_text.done", f'{here},"text":"Hm."'),
            frame("response.content_part.done", f'{here},"part":{thought_part("Hm.")}'),
            frame(done, item(0, reasoned)),
            frame(added, item(1, message("in_progress", ""))),
            frame("response.content_part.added", f'{there},"part":{text_part("")}'),
            delta("response.output_text", f'{there},"logprobs":[]', "Hi"),
            delta("response.output_text", f'{there},"logprobs":[]', "\u2028"),
            frame("response.output_text.done", f'{there},"text":"{encoded}","logprobs":[]'),
            frame("response.content_part.done", f'{there},"part":{text_part(encoded)}'),
            frame(done, item(1, spoken)),
            frame(added, item(2, call(2, "in_progress", "f", ""))),
            delta(arguments, '"item_id":"fc_1_2","output_index":2', '{"a"'),
            delta(arguments, '"item_id":"fc_1_2","output_index":2', ":1}"),
            frame(
                f"{arguments}.done",
                '"item_id":"fc_1_2","output_index":2,"arguments":"{\\"a\\":1}"',
            ),
            frame(done, item(2, calls[0])),
            frame(added, item(3, call(3, "in_progress", "g", ""))),
            delta(arguments, '"item_id":"fc_1_3","output_index":3', "{}"),
            frame(f"{arguments}.done", '"item_id":"fc_1_3","output_index":3,"arguments":"{}"'),
            frame(done, item(3, calls[1])),
            frame("response.completed", response("completed", output, usage)),
        ]
    )


@pytest.mark.parametrize(
    "events",
    [
        ANSWER,
        [complete("stop")],
        [text("cut"), complete("length")],
        [thought("only"), complete("length")],
        [text(""), complete("content_filter")],
        [call("start", 0, id="c", name="f"), call("delta", 0, arguments="{"), complete("length")],
    ],
)
def test_the_last_event_of_a_response_is_its_batch(events, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 7)
    frames = ResponseFrames("1", {"model": "m"})
    sent = EventDecoder().feed(b"".join(map(frames.item, events)))
    assert json.loads(sent[-1].data)["response"] == response_object(
        "1", {"model": "m"}, fold(events)
    )


@pytest.mark.parametrize(
    ("event", "of_openai", "of_anthropic"),
    [
        (complete("stop"), "stop", "end_turn"),
        (complete("stop", stop_sequence="x"), "stop", "stop_sequence"),
        (complete("length"), "length", "max_tokens"),
        (complete("content_filter"), "content_filter", "refusal"),
        (complete("pause"), "stop", "pause_turn"),
    ],
)
def test_how_an_answer_ended_in_both_wire_formats(event, of_openai, of_anthropic):
    chunk = ChatCompletionFrames("c", "m").item(event)
    assert f'"finish_reason":"{of_openai}"'.encode() in chunk
    assert f'"stop_reason":"{of_anthropic}"'.encode() in MessageFrames("m", "m", "r", 0).item(event)


def test_a_failure_has_no_end_that_looks_like_success():
    problem = {"status": 529, "title": "", "detail": "too busy"}
    assert ChatCompletionFrames("c", "m").failed(problem) == (
        b'data: {"error":{"message":"too busy","type":"server_error","param":null,"code":null}}\n\n'
    )
    assert MessageFrames("m", "m", "req_1", 0).failed(problem) == (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
        b'"message":"too busy"},"request_id":"req_1"}\n\n'
    )


@pytest.mark.parametrize("choice", ["auto", "any"])
def test_how_to_answer_is_heard_by_messages_as_well(choice):
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    }
    plain = AnthropicMessages().parse(body).chat
    assert (plain.parallel_tool_calls, plain.temperature, plain.top_p) == (None, None, None)
    one = {"type": choice, "disable_parallel_tool_use": True}
    options = {"tool_choice": one, "temperature": 0.5, "top_p": 0.9}
    request = AnthropicMessages().parse(body | options).chat
    assert (request.parallel_tool_calls, request.temperature, request.top_p) == (False, 0.5, 0.9)


@given(st.lists(st.text(), max_size=5))
def test_any_text_comes_through_both(pieces):
    chunks = ChatCompletionFrames("c", "m")
    events = EventDecoder().feed(b"".join(chunks.item(text(piece)) for piece in pieces))
    assert [json.loads(e.data)["choices"][0]["delta"]["content"] for e in events] == pieces
    frames = MessageFrames("m", "m", "r", 0)
    events = EventDecoder().feed(b"".join(frames.item(text(piece)) for piece in pieces))
    deltas = [json.loads(e.data) for e in events if e.event == "content_block_delta"]
    assert [delta["delta"]["text"] for delta in deltas] == pieces


def events_of(frames, items):
    """The data of the frames of an answer."""
    sent = frames.opening() + b"".join(map(frames.item, items)) + frames.done()
    return [json.loads(event.data) for event in EventDecoder().feed(sent)]


def blocks_of(items):
    """The content of a streamed message, as a client of Anthropic's puts it together."""
    blocks = []
    for event in events_of(MessageFrames("m", "model", "r", 0), items):
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            for name in ("thinking", "signature", "text"):
                if name in event["delta"]:
                    blocks[-1][name] += event["delta"][name]
    return blocks


SIGNED = [thought("One "), thought("two."), thought(signature="s1")]
OMITTED = [thought(signature="s2")]  # its text stays with the provider
REDACTED = [thought(redacted="r1")]
AT_ONCE = [thought("Three.", signature="s3")]
THOUGHTS = {
    "signed": SIGNED,
    "two signed": SIGNED + AT_ONCE,
    "redacted": REDACTED,
    "redacted twice": REDACTED * 2,
    "omitted": OMITTED,
    "omitted, signed": OMITTED + SIGNED,
    "redacted, signed": REDACTED + SIGNED,
    "signed, redacted": SIGNED + REDACTED,
    "all": AT_ONCE + REDACTED + SIGNED + OMITTED,
    "signed, open": [*SIGNED, thought("Four.")],
}


@pytest.mark.parametrize("name", THOUGHTS)
@pytest.mark.parametrize("rest", [[], [text("Hi")]], ids=["alone", "text"])
def test_each_block_of_thinking_keeps_its_place_and_its_seal(name, rest):
    items = [*THOUGHTS[name], *rest, complete("stop")]
    whole = fold(items)
    wanted = [
        (t.content, t.signature or t.redacted, bool(t.redacted)) for t in whole.message.thoughts
    ]
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}

    anthropic = AnthropicMessages()
    batch = anthropic.batch(anthropic.parse(asked), "req_1", whole)["content"]
    assert blocks_of(items) == batch
    history = [*asked["messages"], {"role": "assistant", "content": batch}]
    assert sealed(anthropic.parse({**asked, "messages": history})) == wanted

    events = events_of(ResponseFrames("1", {}), items)
    output = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert output == response_object("1", {}, whole)["output"]
    assert output == events[-1]["response"]["output"]
    history = [*asked["messages"], *output]
    assert sealed(OpenAIResponses().parse({"model": "m", "input": history})) == wanted


def sealed(request):
    """The thinking of a history."""
    parts = [part for message in request.chat.messages for part in message.parts]
    kinds = [part for part in parts if part.type == "thinking"]
    return [(part.text, part.signature, part.is_redacted) for part in kinds]


def test_a_call_of_a_custom_tool_has_its_own_events_and_id():
    calls = {"patch": {"type": "custom_tool_call"}}
    items = [
        call("start", 0, id="c0", name="patch"),
        call("delta", 0, arguments='{"input": "*** Be'),
        call("delta", 0, arguments='gin"}'),
        call("end", 0),
        call("start", 1, id="c1", name="g"),
        call("delta", 1, arguments="{}"),
        call("end", 1),
        complete("tool_calls"),
    ]
    events = events_of(ResponseFrames("1", {}, calls), items)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    of_custom = [event for event in events if event.get("output_index") == 0]
    assert [(e["type"].removeprefix("response."), e.get("item_id")) for e in of_custom] == [
        ("output_item.added", None),
        ("custom_tool_call_input.delta", "ctc_1_0"),
        ("custom_tool_call_input.done", "ctc_1_0"),
        ("output_item.done", None),
    ]
    assert (of_custom[1]["delta"], of_custom[2]["input"]) == ("*** Begin", "*** Begin")
    output = events[-1]["response"]["output"]
    assert [(item["type"], item["id"]) for item in output] == [
        ("custom_tool_call", "ctc_1_0"),
        ("function_call", "fc_1_1"),
    ]
    assert output == response_object("1", {}, fold(items), calls=calls)["output"]
