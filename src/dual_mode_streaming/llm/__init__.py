"""Language models: a client that yields typed events, its providers, and routes in wire formats.

async for event in LLMClient().chat_completion("Why do streams leak?"):
    if event.type is EventType.TEXT_DELTA:
        print(event.text_delta.content, end="")

`llm_routes` is loaded on first use, because it needs FastAPI and the client does not.
"""

from typing import TYPE_CHECKING

try:
    import stamina as _  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "dual_mode_streaming.llm needs: pip install 'dual-mode-streaming[llm]'"
    ) from error

from dual_mode_streaming._lazy import lazy_attributes
from dual_mode_streaming.llm._agents import agent_events, agent_text
from dual_mode_streaming.llm._client import LLMClient, Spent
from dual_mode_streaming.llm._events import (
    ErrorType,
    EventType,
    FinishReason,
    Message,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    collect,
    fold,
)
from dual_mode_streaming.llm._factory import LLMSettings, Router, provider_by_settings
from dual_mode_streaming.llm._provider import Provider, ProviderError
from dual_mode_streaming.llm._requests import ChatMessage, ChatRequest, NamedTool, Tool, ToolChoice
from dual_mode_streaming.llm.simulator._journal import Journal, JournalEntry
from dual_mode_streaming.llm.simulator._model import Simulator
from dual_mode_streaming.llm.simulator._pace import Pace
from dual_mode_streaming.llm.simulator._recorded import Recorded
from dual_mode_streaming.llm.simulator._script import Failure, Reply, Script, ScriptedCall

if TYPE_CHECKING:
    from dual_mode_streaming.llm._routes import llm_routes

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "ErrorType",
    "EventType",
    "Failure",
    "FinishReason",
    "Journal",
    "JournalEntry",
    "LLMClient",
    "LLMSettings",
    "Message",
    "NamedTool",
    "Pace",
    "Provider",
    "ProviderError",
    "Recorded",
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
    "ToolResult",
    "Usage",
    "agent_events",
    "agent_text",
    "collect",
    "fold",
    "llm_routes",
    "provider_by_settings",
]

__getattr__ = lazy_attributes(__name__, {"llm_routes": "_routes"})
