"""Providers that call a service; each module imports the SDK of its service."""

from typing import TYPE_CHECKING

from dual_mode_streaming._lazy import lazy_attributes

if TYPE_CHECKING:
    from dual_mode_streaming.llm.providers._anthropic import AnthropicProvider
    from dual_mode_streaming.llm.providers._openai import OpenAIProvider

__all__ = [
    "AnthropicProvider",
    "OpenAIProvider",
]

_MODULES = {  # loaded on first use, with the SDK
    "AnthropicProvider": "_anthropic",
    "OpenAIProvider": "_openai",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
