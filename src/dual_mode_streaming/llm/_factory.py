"""Which provider answers: by the settings, and by the name of the model."""

import importlib.util
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._provider import Provider
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.simulator._model import Simulator
from dual_mode_streaming.llm.simulator._pace import Pace
from dual_mode_streaming.llm.simulator._script import Script

__all__ = ["LLMSettings", "Router", "provider_by_settings"]

_PREFIX = "DUAL_MODE_LLM_"


class LLMSettings(BaseModel):
    """The settings of the language models, each a `DUAL_MODE_LLM_*` variable.

    `provider` answers where the model's name does not say who, with `model` where there is no name;
    `base_url` is where it is, if not at its usual place. The keys are `ANTHROPIC_API_KEY` and
    `OPENAI_API_KEY`; models named claude-* and gpt-* go there if there is a key, and the provider's
    SDK. `script`, `first`, `rate` and `jitter` are the simulator's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["simulator", "anthropic", "openai"] = "simulator"
    model: str | None = None
    base_url: str | None = None
    script: Path | None = None
    first: float = Field(default=0, ge=0, allow_inf_nan=False)
    rate: float = Field(default=0, ge=0, allow_inf_nan=False)
    jitter: float = Field(default=0, ge=0, le=1)

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "LLMSettings":
        """The settings of an environment. ValueError, one line that names the variable."""
        names = {f"{_PREFIX}{name.upper()}": name for name in cls.model_fields}
        given = {names[key]: value for key, value in environment.items() if key in names}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = f"{_PREFIX}{str(first['loc'][0]).upper()}"
            raise ValueError(f"{name}={first['input']}: {first['msg']}") from error


class Router:
    """A provider that hands each request to the one whose model it names.

    Args:
        default: answers what names no model of the others.
        by_prefix: providers by the beginning of their models' names, such as "claude".
    """

    def __init__(self, default: Provider, by_prefix: Mapping[str, Provider] | None = None) -> None:
        self._default = default
        self._by_prefix = dict(by_prefix or {})
        self.name = default.name
        self.default_model = default.default_model

    def of(self, model: str) -> Provider:
        """Who answers for a model."""
        for prefix, provider in self._by_prefix.items():
            if model.startswith(prefix):
                return provider
        return self._default

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """The stream of the provider whose model it is."""
        return self.of(request.model).stream(request)

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """The answer of the provider whose model it is."""
        return await self.of(request.model).complete(request)

    async def count_tokens(self, request: ChatRequest) -> int:
        """The count of the provider whose model it is."""
        return await self.of(request.model).count_tokens(request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """The estimate of the provider whose model it is."""
        return self.of(request.model).estimate_tokens(request)

    async def models(self) -> list[str]:
        """The models of all."""
        return [model for provider in self._all() for model in await provider.models()]

    async def aclose(self) -> None:
        """Close them all."""
        for provider in self._all():
            await provider.aclose()

    def _all(self) -> list[Provider]:
        return list(dict.fromkeys((self._default, *self._by_prefix.values())))


def provider_by_settings(
    settings: LLMSettings | None = None, environment: Mapping[str, str] = os.environ
) -> Provider:
    """The provider that the settings name, and those whose models can be named.

    The settings are those of the environment if None; the keys are taken from there. ValueError if
    a script is wrong, or if the provider that is named has no key, or no SDK.
    """
    settings = settings or LLMSettings.load(environment)
    made: dict[str, Provider] = {}
    for name, make in (("anthropic", _anthropic), ("openai", _openai)):
        variable = f"{name.upper()}_API_KEY"
        key = environment.get(variable)
        if settings.provider == name:
            if not key:
                raise ValueError(f"{variable} is not set, and the provider is {name}")
            made[name] = make(key, settings)
        elif key and importlib.util.find_spec(name):  # its SDK is an extra
            made[name] = make(key, LLMSettings())
    pace = Pace(first=settings.first, rate=settings.rate, jitter=settings.jitter)
    script = Script() if settings.script is None else Script.load(settings.script)
    made["simulator"] = Simulator(pace, script)
    prefixes = {"claude": "anthropic", "gpt": "openai", "simulator": "simulator"}
    return Router(
        made[settings.provider],
        {prefix: made[name] for prefix, name in prefixes.items() if name in made},
    )


def _anthropic(key: str, settings: LLMSettings) -> Provider:
    from dual_mode_streaming.llm.providers._anthropic import AnthropicProvider

    return AnthropicProvider(key, base_url=settings.base_url, model=settings.model)


def _openai(key: str, settings: LLMSettings) -> Provider:
    try:
        from dual_mode_streaming.llm.providers._openai import OpenAIProvider
    except ImportError as error:
        raise ValueError("the openai SDK is needed: dual-mode-streaming[openai]") from error
    return OpenAIProvider(key, base_url=settings.base_url, model=settings.model)
