"""Make the provider from the settings, and route requests by the names of models."""

import importlib.util
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import Field, ValidationError

from dual_mode_streaming.llm._events import FrozenModel, StreamEvent
from dual_mode_streaming.llm._forwarding import Answer, Forwarder
from dual_mode_streaming.llm._provider import Provider
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.simulator._journal import Journal
from dual_mode_streaming.llm.simulator._model import Simulator
from dual_mode_streaming.llm.simulator._pace import Pace
from dual_mode_streaming.llm.simulator._script import Script

BODY_LIMIT = 32 * 1024 * 1024
"""The most bytes of a request to a model, by default."""
BODY_VALUES = 250_000
"""The most JSON values and names in it: some 5,000 calls of tools."""

_PREFIX = "DUAL_MODE_LLM_"


class LLMSettings(FrozenModel):
    """The settings of the language models; each is also a `DUAL_MODE_LLM_*` variable.

    The keys are `ANTHROPIC_API_KEY` and `OPENAI_API_KEY`. Models named claude-* and gpt-* use these
    services if their key is set and their SDK is installed.

    Attributes:
        provider: answers requests whose model belongs to no other provider.
        model: the model of a request that names none.
        base_url: the URL of the provider, if not its usual one.
        script: the simulator's script, a TOML file, or what `dual-mode record` wrote.
        any_model: whether the simulator answers to every name of a model.
        first: the simulator's seconds before the first token.
        rate: the simulator's tokens a second; 0 for no pause.
        jitter: the share of the simulator's pauses that varies, from 0 to 1.
        replay: how many times as fast as they came the simulator replays recorded answers; 0 for no
            pause.
        journal: how many requests the simulator remembers, for `GET /simulator/requests`.
        body_limit: the most bytes of a request under /v1.
        body_values: the most JSON values and names in it.
    """

    provider: Literal["simulator", "anthropic", "openai"] = "simulator"
    model: str | None = None
    base_url: str | None = None
    script: Path | None = None
    any_model: bool = False
    first: float = Field(default=0, ge=0, allow_inf_nan=False)
    rate: float = Field(default=0, ge=0, allow_inf_nan=False)
    jitter: float = Field(default=0, ge=0, le=1)
    replay: float = Field(default=0, ge=0, allow_inf_nan=False)
    journal: int = Field(default=0, ge=0, le=10_000)
    body_limit: int = Field(default=BODY_LIMIT, ge=1)
    body_values: int = Field(default=BODY_VALUES, ge=1)

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "LLMSettings":
        """Read the settings from environment variables.

        Raises:
            ValueError: a value is invalid; the message is one line that names the variable.
        """
        names = {f"{_PREFIX}{name.upper()}": name for name in cls.model_fields}
        given = {names[key]: value for key, value in environment.items() if key in names}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = f"{_PREFIX}{str(first['loc'][0]).upper()}"
            raise ValueError(f"{name}={first['input']}: {first['msg']}") from error


class Router:
    """A provider that passes each request to the provider of its model.

    Args:
        default: the provider of all models without a matching prefix.
        by_prefix: providers by a prefix of their models' names, such as "claude".
    """

    def __init__(self, default: Provider, by_prefix: Mapping[str, Provider] | None = None) -> None:
        self._default = default
        self._by_prefix = dict(by_prefix or {})
        self.name = default.name
        self.default_model = default.default_model

    def of(self, model: str) -> Provider:
        """Return the provider of a model."""
        for prefix, provider in self._by_prefix.items():
            if model.startswith(prefix):
                return provider
        return self._default

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream from the provider of the model."""
        return self.of(request.model).stream(request)

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Complete with the provider of the model."""
        return await self.of(request.model).complete(request)

    def forwards(self, request: ChatRequest) -> bool:
        """Return whether the provider of the model forwards the request."""
        provider = self.of(request.model)
        return isinstance(provider, Forwarder) and provider.forwards(request)

    def forward(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        """Forward to the provider of the model."""
        return cast(Forwarder, self.of(request.model)).forward(request, stream)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Count with the provider of the model."""
        return await self.of(request.model).count_tokens(request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Estimate with the provider of the model."""
        return self.of(request.model).estimate_tokens(request)

    async def models(self) -> list[str]:
        """Return the models of all providers."""
        return [model for provider in self._all() for model in await provider.models()]

    async def aclose(self) -> None:
        """Close all providers."""
        for provider in self._all():
            await provider.aclose()

    def _all(self) -> list[Provider]:
        return list(dict.fromkeys((self._default, *self._by_prefix.values())))


def provider_by_settings(
    settings: LLMSettings | None = None, environment: Mapping[str, str] = os.environ
) -> Router:
    """Make a `Router` over the configured provider and all others that have a key and an SDK.

    Args:
        settings: read from `environment` if None.
        environment: the variables, among them the keys.

    Raises:
        ValueError: the script is invalid, or the configured provider has no key or no SDK.
    """
    settings = settings or LLMSettings.load(environment)
    providers: dict[str, Provider] = {}
    for name, make in (("anthropic", _anthropic), ("openai", _openai)):
        variable = f"{name.upper()}_API_KEY"
        key = environment.get(variable)
        if settings.provider == name:
            if not key:
                raise ValueError(f"{variable} is not set: the provider {name} requires it")
            providers[name] = make(key, settings)
        elif key and importlib.util.find_spec(name):  # the SDK is an extra
            providers[name] = make(key, LLMSettings())
    pace = Pace(
        first=settings.first, rate=settings.rate, jitter=settings.jitter, replay=settings.replay
    )
    script = Script() if settings.script is None else Script.load(settings.script)
    providers["simulator"] = Simulator(
        pace, script, any_model=settings.any_model, journal=Journal(settings.journal)
    )
    prefixes = {"claude": "anthropic", "gpt": "openai", "simulator": "simulator"}
    return Router(
        providers[settings.provider],
        {prefix: providers[name] for prefix, name in prefixes.items() if name in providers},
    )


def _anthropic(key: str, settings: LLMSettings) -> Provider:
    from dual_mode_streaming.llm.providers._anthropic import AnthropicProvider

    return AnthropicProvider(key, base_url=settings.base_url, model=settings.model)


def _openai(key: str, settings: LLMSettings) -> Provider:
    try:
        from dual_mode_streaming.llm.providers._openai import OpenAIProvider
    except ImportError as error:
        raise ValueError("the openai SDK is needed: install dual-mode-streaming[openai]") from error
    return OpenAIProvider(key, base_url=settings.base_url, model=settings.model)
