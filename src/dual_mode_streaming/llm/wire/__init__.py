"""The wire formats of OpenAI, Anthropic, the AI SDK and AG-UI, a module each."""

from dual_mode_streaming.llm.wire._agui import AGUI, AGUIFrames
from dual_mode_streaming.llm.wire._anthropic_messages import AnthropicMessages, MessageFrames
from dual_mode_streaming.llm.wire._format import ModelFormat, WireRequest
from dual_mode_streaming.llm.wire._frontend_requests import AGUIRun, UIChat
from dual_mode_streaming.llm.wire._openai_chat import ChatCompletionFrames, OpenAIChat
from dual_mode_streaming.llm.wire._openai_responses import OpenAIResponses
from dual_mode_streaming.llm.wire._parsing import parse_request
from dual_mode_streaming.llm.wire._response_objects import ResponseFrames, response_object
from dual_mode_streaming.llm.wire._ui_messages import UIFrames, UIMessageStream

__all__ = [
    "AGUI",
    "AGUIFrames",
    "AGUIRun",
    "AnthropicMessages",
    "ChatCompletionFrames",
    "MessageFrames",
    "ModelFormat",
    "OpenAIChat",
    "OpenAIResponses",
    "ResponseFrames",
    "UIChat",
    "UIFrames",
    "UIMessageStream",
    "WireRequest",
    "parse_request",
    "response_object",
]
