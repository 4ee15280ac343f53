"""Language models: a client that gives typed events, and the providers behind it.

async for event in LLMClient().chat_completion("Why do streams leak?"):
    if event.type is EventType.TEXT_DELTA:
        print(event.text_delta.content, end="")
"""

from dual_mode_streaming.llm.choice import LLMSettings, Router, provider_by_settings
from dual_mode_streaming.llm.client import LLMClient, Spent
from dual_mode_streaming.llm.events import (
    ErrorType,
    EventType,
    FinishReason,
    Message,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    collect,
    fold,
)
from dual_mode_streaming.llm.pace import Pace
from dual_mode_streaming.llm.provider import Provider, ProviderError
from dual_mode_streaming.llm.requests import ChatMessage, ChatRequest, NamedTool, Tool, ToolChoice
from dual_mode_streaming.llm.script import Failure, Reply, Script, ScriptedCall
from dual_mode_streaming.llm.simulator import Simulator

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "ErrorType",
    "EventType",
    "Failure",
    "FinishReason",
    "LLMClient",
    "LLMSettings",
    "Message",
    "NamedTool",
    "Pace",
    "Provider",
    "ProviderError",
    "Reply",
    "Router",
    "Script",
    "ScriptedCall",
    "Simulator",
    "Spent",
    "StreamEvent",
    "TextDelta",
    "ThinkingDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "Usage",
    "collect",
    "fold",
    "provider_by_settings",
]
