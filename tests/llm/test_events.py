"""Events have the fields of their type; a stream of them folds to the answer in one piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dual_mode_streaming.llm import (
    EventType,
    Message,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    fold,
)

COMPLETE = StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=Usage())


def test_events_are_written_as_the_design_says():
    text = StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content="hi"))
    assert text.model_dump(exclude_none=True) == {
        "type": "text_delta",
        "text_delta": {"content": "hi"},
    }
    assert StreamEvent.model_validate_json(text.model_dump_json()) == text
    error = StreamEvent(type=EventType.ERROR, error="no")
    assert (text.is_final, COMPLETE.is_final, error.is_final) == (False, True, True)
    assert COMPLETE.usage.total_tokens == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "text_delta"}, "needs text_delta"),
        ({"type": "error"}, "needs error"),
        ({"type": "message_complete", "finish_reason": "stop"}, "needs usage"),
        ({"type": "error", "error": "no", "finish_reason": "stop"}, "has no finish_reason"),
        ({"type": "text_delta", "text_delta": {"content": ""}, "usage": {}}, "has no usage"),
        ({"type": "tool_call_start", "tool_call": {"index": 0}}, "an index, id, name"),
        ({"type": "tool_call_delta", "tool_call": {"index": 0, "id": "x"}}, "an index, argum"),
        ({"type": "tool_call_end", "tool_call": {"index": 0, "name": "x"}}, "an index, and noth"),
        ({"type": "tool_call_end", "tool_call": {"index": -1}}, "greater than or equal to 0"),
        ({"type": "said"}, "text_delta"),
    ],
)
def test_a_field_that_is_missing_or_foreign_is_named(fields, message):
    with pytest.raises(ValidationError, match=message):
        StreamEvent.model_validate(fields)


def test_events_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        COMPLETE.finish_reason = "length"


pieces = st.lists(st.text(max_size=5), max_size=5)


@given(thinking=pieces, text=pieces, calls=st.lists(pieces, max_size=3))
def test_the_fold_is_the_whole_message(thinking, text, calls):
    events = [
        StreamEvent(type=EventType.THINKING_DELTA, thinking_delta=ThinkingDelta(content=piece))
        for piece in thinking
    ]
    events += [
        StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=piece))
        for piece in text
    ]
    for index, arguments in enumerate(calls):
        head = ToolCallDelta(index=index, id=f"c{index}", name="f")
        events.append(StreamEvent(type=EventType.TOOL_CALL_START, tool_call=head))
        for piece in arguments:
            part = ToolCallDelta(index=index, arguments=piece)
            events.append(StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part))
        events.append(
            StreamEvent(type=EventType.TOOL_CALL_END, tool_call=ToolCallDelta(index=index))
        )
    whole = fold([*events, COMPLETE])
    assert whole.message == Message(
        content="".join(text),
        thinking="".join(thinking),
        tool_calls=tuple(
            ToolCall(id=f"c{index}", name="f", arguments="".join(arguments))
            for index, arguments in enumerate(calls)
        ),
    )
    assert fold([whole]) == whole
    with pytest.raises(ValueError, match="incomplete"):
        fold(events)
