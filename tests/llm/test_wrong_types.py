"""Values of other types in every place of a request are refused in words; none is a mistake."""

import copy

import pytest
from pydantic import ValidationError

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire import (
    AGUI,
    AGUIRun,
    AnthropicMessages,
    OpenAIChat,
    OpenAIResponses,
    UIChat,
    UIMessageStream,
)

OTHERS = [
    *(None, 5, True, "x", "json_schema", [], [1], ["x"], [[]], [{}]),
    *({}, {"type": []}, {"type": "x"}, {"id": []}, {"name": []}),
]
TEXT = {"type": "text", "text": "x"}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"url": "http://x", "detail": "low"}
DATA = "data:image/png;base64,aa"


def only(mode, **tool):
    """The choice of one of some tools."""
    allowed = {"mode": "auto", "tools": [{"type": "function", **tool}]}
    return {"type": "allowed_tools", **({mode: allowed} if mode else allowed)}


CHAT = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "stop": ["x"],
    "max_completion_tokens": 5,
    "reasoning_effort": "low",
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": only("allowed_tools", function={"name": "f"}),
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "messages": [
        {"role": "developer", "content": "x"},
        {
            "role": "user",
            "content": [
                TEXT,
                {"type": "image_url", "image_url": IMAGE},
                {"type": "file", "file": {"file_id": "f", "file_data": DATA, "filename": "n"}},
            ],
        },
        {"role": "assistant", "content": None, "refusal": "no", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ],
}
RESPONSES = {
    "model": "m",
    "instructions": "i",
    "include": ["x"],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {}}},
    "tools": [
        {"type": "function", **FUNCTION},
        {"type": "custom", "name": "g"},
        {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "h"}]},
    ],
    "tool_choice": only("", name="f"),
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "x"},
                {"type": "input_image", "image_url": "http://x", "detail": "low"},
                {"type": "input_file", "file_data": "x", "filename": "n"},
            ],
        },
        {"type": "reasoning", "summary": [TEXT], "content": [TEXT], "encrypted_content": "z"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
        {"type": "additional_tools", "tools": [{"type": "function", "name": "z"}]},
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
        {"type": "x_output", "id": "w"},
    ],
}
DEFINITION = {"type": "tool_definition", "definition": {"name": "n"}}
ANTHROPIC = {
    "model": "m",
    "max_tokens": 5,
    "system": [TEXT],
    "stop_sequences": ["x"],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "tools": [{"name": "f", "description": "d", "input_schema": {}, "strict": True}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "messages": [
        {
            "role": "user",
            "content": [
                TEXT,
                {"type": "image", "source": {"type": "url", "url": "http://x"}},
                {"type": "document", "source": {"type": "content", "content": [TEXT]}},
                {"type": "search_result", "title": "t", "source": "s", "content": [TEXT]},
            ],
        },
        {
            "role": "assistant",
            "output_config": {"effort": "low"},
            "content": [
                {"type": "thinking", "thinking": "x", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": [TEXT]},
                {"type": "tool_addition", "tool": DEFINITION},
                {"type": "tool_removal", "tool": {"name": "n"}},
            ],
        },
    ],
}
USECHAT = {
    "id": "c",
    "trigger": "submit-message",
    "messages": [
        {"id": "i", "role": "system", "parts": [TEXT]},
        {
            "id": "i",
            "role": "user",
            "parts": [
                TEXT,
                {"type": "file", "mediaType": "image/png", "url": DATA, "filename": "n"},
            ],
        },
        {
            "id": "j",
            "role": "assistant",
            "parts": [
                {"type": "step-start"},
                TEXT,
                {
                    "type": "tool-f",
                    "toolCallId": "c",
                    "state": "output-available",
                    "input": {"a": 1},
                    "output": {"b": 1},
                },
                {
                    "type": "dynamic-tool",
                    "toolName": "g",
                    "toolCallId": "d",
                    "state": "approval-responded",
                    "approval": {"id": "x", "approved": False, "reason": "r"},
                    "rawInput": "x",
                },
                {"type": "tool-h", "toolCallId": "e", "state": "output-error", "errorText": "x"},
            ],
        },
    ],
}
RUN = {
    "threadId": "t",
    "runId": "r",
    "tools": [{"name": "f", "description": "d", "parameters": {}}],
    "context": [{"description": "d", "value": "v"}],
    "forwardedProps": {"model": "m"},
    "resume": [{"interruptId": "i", "status": "resolved"}],
    "messages": [
        {
            "id": "1",
            "role": "user",
            "content": [
                TEXT,
                {"type": "image", "source": {"type": "data", "value": "aa", "mimeType": "a/b"}},
                {"type": "binary", "mimeType": "image/png", "data": "aa", "filename": "n"},
                {"type": "document", "source": {"type": "url", "value": "http://x"}},
            ],
        },
        {"id": "2", "role": "assistant", "content": None, "toolCalls": [CALL]},
        {"id": "3", "role": "tool", "toolCallId": "c", "content": "x", "error": "e"},
    ],
}


def ask_usechat(body):
    UIMessageStream().begin(body)
    UIChat.model_validate(body).chat()


def ask_agui(body):
    AGUI().begin(body)
    AGUIRun.model_validate(body).chat()


READERS = {
    "chat": (OpenAIChat().begin, CHAT),
    "responses": (OpenAIResponses().begin, RESPONSES),
    "anthropic": (AnthropicMessages().begin, ANTHROPIC),
    "usechat": (ask_usechat, USECHAT),
    "agui": (ask_agui, RUN),
}


def changed(value):
    """Yield a value with each other value in each place in it, and without what is there."""
    places = value.items() if isinstance(value, dict) else enumerate(value)
    for place, inner in tuple(places):
        copied = copy.copy(value)
        del copied[place]
        yield copied
        inners = changed(inner) if isinstance(inner, dict | list) else ()
        for other in (*OTHERS, *inners):
            copied = copy.copy(value)
            copied[place] = other
            yield copied


@pytest.mark.parametrize("name", READERS)
def test_a_value_of_another_type_is_refused_in_words_or_taken(name):
    read, body = READERS[name]
    read(body)
    for wrong in changed(body):
        try:
            read(copy.deepcopy(wrong))
        except (Problem, ValidationError):
            continue
        except Exception as error:
            error.add_note(f"the request was {wrong}")
            raise
