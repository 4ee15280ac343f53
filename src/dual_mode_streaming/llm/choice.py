"""Which provider answers: by the settings, and by the name of the model."""

import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dual_mode_streaming.llm.events import StreamEvent
from dual_mode_streaming.llm.pace import Pace
from dual_mode_streaming.llm.provider import Provider
from dual_mode_streaming.llm.requests import ChatRequest
from dual_mode_streaming.llm.script import Script
from dual_mode_streaming.llm.simulator import Simulator

__all__ = ["LLMSettings", "Router", "provider_by_settings"]

_PREFIX = "DUAL_MODE_LLM_"


class LLMSettings(BaseModel):
    """The settings of the language models, each a `DUAL_MODE_LLM_*` variable.

    `provider` answers where the model's name does not say who. `script`, `first`, `rate` and
    `jitter` are the simulator's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["simulator"] = "simulator"
    script: Path | None = None
    first: float = Field(default=0, ge=0)
    rate: float = Field(default=0, ge=0)
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

    async def models(self) -> list[str]:
        """The models of all."""
        return [
            model
            for provider in (self._default, *self._by_prefix.values())
            for model in await provider.models()
        ]

    async def aclose(self) -> None:
        """Close them all."""
        for provider in (self._default, *self._by_prefix.values()):
            await provider.aclose()


def provider_by_settings(settings: LLMSettings | None = None) -> Provider:
    """The provider that the settings name; those of the environment if None. Raises ValueError."""
    settings = settings or LLMSettings.load()
    pace = Pace(first=settings.first, rate=settings.rate, jitter=settings.jitter)
    script = Script() if settings.script is None else Script.load(settings.script)
    return Router(Simulator(pace, script))
