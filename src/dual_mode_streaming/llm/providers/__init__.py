"""Providers that call a service; each module imports the SDK of its service."""

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(module, name)
    return value
