"""The wire formats of OpenAI and Anthropic, a module each."""

from dual_mode_streaming.llm.wire._anthropic_messages import AnthropicMessages, MessageFrames
from dual_mode_streaming.llm.wire._format import WireFormat, WireRequest
from dual_mode_streaming.llm.wire._openai_chat import ChatCompletionFrames, OpenAIChat
from dual_mode_streaming.llm.wire._openai_responses import OpenAIResponses
from dual_mode_streaming.llm.wire._parsing import parse_request
from dual_mode_streaming.llm.wire._response_objects import ResponseFrames, response_object

__all__ = [
    "AnthropicMessages",
    "ChatCompletionFrames",
    "MessageFrames",
    "OpenAIChat",
    "OpenAIResponses",
    "ResponseFrames",
    "WireFormat",
    "WireRequest",
    "parse_request",
    "response_object",
]
