"""Every parameter of the SDKs is translated, dropped as a hint, or refused by its name."""

import inspect
import re
from pathlib import Path

import pytest
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import Messages
from openai.resources.chat.completions import Completions
from openai.resources.responses import Responses
from openai.resources.responses.input_tokens import InputTokens

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm.wire import AnthropicMessages, OpenAIChat, OpenAIResponses
from dual_mode_streaming.llm.wire._anthropic_messages import AnthropicTokenCount

PAGE = (Path(__file__).parents[2] / "docs" / "llm.md").read_text("utf-8")
OF_THE_SDK = {"self", "extra_headers", "extra_query", "extra_body", "timeout"} | {
    "betas", "user_profile_id", "workspace_id",  # headers
}  # fmt: skip
SCHEMA = {"type": "object", "properties": {}}
FUNCTION = {"name": "f", "parameters": SCHEMA}
USER = {"role": "user", "content": "Hi"}
CACHED = {"type": "ephemeral"}

# The values with which a parameter says something.
OPENAI = {
    "model": "other", "metadata": {"a": "b"}, "moderation": {"model": "omni"},
    "parallel_tool_calls": False, "prompt_cache_key": "k", "prompt_cache_options": {"ttl": "30m"},
    "prompt_cache_retention": "24h", "safety_identifier": "s", "service_tier": "flex",
    "store": False, "stream": True, "temperature": 0.5, "tool_choice": "required",
    "top_logprobs": 2, "top_p": 0.5, "user": "u",
}  # fmt: skip
CHAT = {
    **OPENAI, "messages": [USER, USER], "audio": {"voice": "ash", "format": "wav"},
    "frequency_penalty": 0.5, "function_call": {"name": "f"}, "functions": [FUNCTION],
    "logit_bias": {"5": -100}, "logprobs": True, "max_completion_tokens": 7, "max_tokens": 7,
    "modalities": ["text", "audio"], "n": 2, "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5, "reasoning_effort": "low", "response_format": {"type": "json_object"},
    "seed": 7, "stop": ["x"], "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {**FUNCTION, "description": "d"}}],
    "verbosity": "low", "web_search_options": {"search_context_size": "low"},
}  # fmt: skip
RESPONSES = {
    **OPENAI, "input": "Hello", "access_programs": {"cyber": True}, "background": True,
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "conversation": "conv_1", "image": {"context_compression": "enabled"},
    "include": ["reasoning.encrypted_content"], "instructions": "Be brief.",
    "max_output_tokens": 7, "max_tool_calls": 2, "personality": "friendly",
    "previous_response_id": "resp_1", "prompt": {"id": "p"}, "reasoning": {"effort": "low"},
    "stream_options": {"include_obfuscation": False}, "text": {"verbosity": "low"},
    "tools": [{"type": "function", **FUNCTION, "description": "d"}], "truncation": "auto",
}  # fmt: skip
MESSAGES = {
    "model": "other", "max_tokens": 7, "messages": [USER, USER],
    "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
    "cache_control": CACHED, "compaction": {"instructions": "Sum up."}, "container": "c",
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "diagnostics": {"previous_message_id": "m"}, "fallback_credit_token": "t",
    "fallbacks": [{"model": "n"}], "inference_geo": "us", "metadata": {"user_id": "u"},
    "mcp_servers": [{"type": "url", "name": "m", "url": "https://example.com"}],
    "output_config": {"effort": "low"},
    "output_format": {"type": "json_schema", "schema": SCHEMA}, "service_tier": "standard_only",
    "speed": "fast", "stop_sequences": ["x"], "stream": True, "system": "Be brief.",
    "thinking": {"type": "adaptive"}, "thread": {"type": "create"},
    "tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": SCHEMA}],
}  # fmt: skip

COUNTED = {"personality"}
"""A hint for the count of tokens only."""
BY_THE_ROUTE = {"background", "previous_response_id", "store"}
"""Resolved by the routes, which keep responses, before the body is parsed."""

APIS = {
    "chat completions": (OpenAIChat(), [Completions.create], CHAT),
    "responses": (OpenAIResponses(), [Responses.create, InputTokens.count], RESPONSES),
    "messages": (AnthropicMessages(), [Messages.create, BetaMessages.create], MESSAGES),
    "count_tokens": (
        AnthropicTokenCount(), [Messages.count_tokens, BetaMessages.count_tokens], MESSAGES,
    ),
}  # fmt: skip


def in_the_page(api):
    """Return the hints and the refused parameters of an API."""
    row = "messages" if api == "count_tokens" else api
    hints, refused = re.search(rf"^\| {row} \|(.+)\|(.+)\|$", PAGE, re.MULTILINE).groups()
    refused = refused.partition(";")[0]
    return set(re.findall(r"`(\w+)`", hints)), set(re.findall(r"`(\w+)`", refused))


def parameters_of(functions):
    return {name for each in functions for name in inspect.signature(each).parameters} - OF_THE_SDK


PARAMETERS = [
    (api, name) for api, (_, calls, _) in APIS.items() for name in sorted(parameters_of(calls))
]


@pytest.mark.parametrize(("api", "name"), PARAMETERS)
def test_a_parameter_is_translated_dropped_as_a_hint_or_refused(api, name):
    wire, _, values = APIS[api]
    assert name in values, f"{name} is new in the SDK: is it a hint, translated, or refused?"
    if name in BY_THE_ROUTE and api == "responses":
        return
    hints, refused = in_the_page(api)
    body = {"model": "m", "max_tokens": 50, "messages": [USER], "input": "Hi"}
    if name == "tool_choice":
        body["tools"] = values["tools"]
    if name == "stream_options":
        body["stream"] = True
    if name == "max_completion_tokens":
        del body["max_tokens"]
    if name == "compaction" and api == "count_tokens":
        del body["max_tokens"]
        hints, refused = {name}, set()
    without = wire.parse(body)
    if name in refused:
        with pytest.raises(Problem) as raised:
            wire.parse({**body, name: values[name]})
        assert (raised.value.param, raised.value.status_code) == (name, 400)
        assert str(raised.value.detail).startswith(f"{name}: ")
        return
    with_it = wire.parse({**body, name: values[name]})
    if name in hints | COUNTED:
        assert with_it.chat == without.chat
    elif (api, name) == ("responses", "stream_options"):
        assert with_it.chat == without.chat  # the streams have no obfuscation
    else:
        said = [(r.chat, r.stream, r.usage_chunk) for r in (with_it, without)]
        assert said[0] != said[1]


@pytest.mark.parametrize("api", APIS)
def test_the_page_names_parameters_that_there_are(api):
    hints, refused = in_the_page(api)
    assert hints.isdisjoint(refused)
    if api != "count_tokens":
        assert hints | refused <= parameters_of(APIS[api][1])


def test_logprobs_are_refused_wherever_they_are_asked_for():
    body = {"model": "m", "input": "Hi", "include": ["message.output_text.logprobs"]}
    with pytest.raises(Problem, match="include: logprobs"):
        OpenAIResponses().parse(body)


def test_what_bills_as_usual_is_no_reason_to_refuse():
    body = {"model": "m", "max_tokens": 5, "messages": [USER]}
    usual = {"type": "billing_policy", "bill_to": "self"}
    assert AnthropicMessages().parse({**body, "billing_policy": usual})
