"""The settings of the service: `DUAL_MODE_*` variables, and the flags that win over them."""

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dual_mode_streaming.limits import Admission, LimitBackend, MemoryLimits
from dual_mode_streaming.llm import LLMSettings
from dual_mode_streaming.stores import Limits
from dual_mode_streaming.stores._factory import check_address
from dual_mode_streaming.web._options import OptionOverrides
from dual_mode_streaming.web._tokens import TokenSigner

__all__ = ["Settings", "SettingsError", "load"]

_PREFIX = "DUAL_MODE_"
_OF_THE_CHAT = "DUAL_MODE_UI_"  # the Streamlit app's, which may stand in the same environment


class SettingsError(ValueError):
    """A setting is wrong; the text is one line that names it and says what would be right."""


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What the service runs with. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=256)
    store: Annotated[str, AfterValidator(check_address)] = "memory"
    log_level: Literal["critical", "error", "warning", "info", "debug"] = "info"
    log_format: Literal["text", "json"] = "text"
    heartbeat: Positive = 15.0
    grace: float = Field(1.0, ge=0, allow_inf_nan=False)
    send_timeout: Positive = 30.0
    stream_limit: Positive | None = None
    batch_items: int = Field(100_000, ge=1)
    batch_bytes: int = Field(64 * 1024 * 1024, ge=1)
    batch_seconds: Positive = 300.0
    drain_delay: float = Field(0.2, ge=0, allow_inf_nan=False)
    drain_timeout: Positive = 4.0
    streams: int = Field(10_000, ge=1)
    client_streams: int = Field(1_000, ge=1)
    idle_timeout: Positive | None = None
    event_bytes: int = Field(16 * 1024 * 1024, ge=1)
    recordings: int = Field(100_000, ge=1)
    recording_bytes: int = Field(64 * 1024 * 1024, ge=1)
    recordings_bytes: int = Field(1024 * 1024 * 1024, ge=1)
    retention: Positive = 3600.0
    api_keys: SecretStr | None = None
    token_secret: SecretStr | None = None
    token_seconds: int = Field(300, ge=1)
    key_streams: int | None = Field(None, ge=1)
    key_requests_a_minute: int | None = Field(None, ge=1)
    body_limit: int = Field(4 * 1024 * 1024, ge=1)
    header_bytes: int = Field(32 * 1024, ge=1024)
    header_timeout: Positive = 10.0
    body_timeout: Positive = 30.0
    llm_provider: Literal["simulator", "anthropic", "openai"] = "simulator"
    llm_model: str | None = None
    llm_base_url: str | None = None
    llm_script: Path | None = None
    llm_first: float = Field(0.3, ge=0, allow_inf_nan=False)
    llm_rate: float = Field(30.0, ge=0, allow_inf_nan=False)
    llm_jitter: float = Field(0.3, ge=0, le=1)

    @model_validator(mode="after")
    def _workers_share_the_store(self) -> Self:
        if self.workers > 1 and self.store == "memory":
            raise ValueError("several workers need a store they share: sqlite:PATH or redis://…")
        return self

    def response_options(self) -> OptionOverrides:
        """The settings that are options of every response."""
        return {
            "heartbeat": self.heartbeat,
            "grace": self.grace,
            "send_timeout": self.send_timeout,
            "max_duration": self.stream_limit,
            "idle_timeout": self.idle_timeout,
            "event_bytes": self.event_bytes,
            "batch_items": self.batch_items,
            "batch_bytes": self.batch_bytes,
            "batch_seconds": self.batch_seconds,
        }

    def store_limits(self) -> Limits:
        """The bounds of the store of recordings."""
        return Limits(
            retention=self.retention,
            stream_bytes=self.recording_bytes,
            streams=self.recordings,
            total_bytes=self.recordings_bytes,
        )

    def admission(self) -> Admission:
        """Return the limits of answers and keys; all workers share them if the store is Redis."""
        backend: LimitBackend = MemoryLimits()
        if self.store.startswith(("redis:", "rediss:", "unix:")):
            from dual_mode_streaming.limits import RedisLimits

            backend = RedisLimits(self.store)
        keys = self.api_keys.get_secret_value().split(",") if self.api_keys else ()
        return Admission(
            streams=self.streams,
            client_streams=self.client_streams,
            keys=(key.strip() for key in keys),
            key_streams=self.key_streams,
            key_requests_a_minute=self.key_requests_a_minute,
            backend=backend,
        )

    def tokens(self) -> TokenSigner:
        """What signs the tokens of URLs; without a secret, one that is this process' own."""
        secret = self.token_secret
        given = secrets.token_hex(32) if secret is None else secret.get_secret_value()
        return TokenSigner(given.split(","), seconds=self.token_seconds)

    def llm(self) -> LLMSettings:
        """The settings of the language models."""
        prefix = "llm_"
        given = self.model_dump(include={n for n in Settings.model_fields if n.startswith(prefix)})
        return LLMSettings(**{name.removeprefix(prefix): value for name, value in given.items()})

    def as_environment(self) -> dict[str, str]:
        """The settings as variables, for processes that load them anew."""
        values = self.model_dump(exclude_none=True)
        if self.api_keys is not None:
            values["api_keys"] = self.api_keys.get_secret_value()
        if self.token_secret is not None:
            values["token_secret"] = self.token_secret.get_secret_value()
        return {f"{_PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def load(**flags: Any) -> Settings:
    """The settings: what the flags give (None is not given), then the environment, then defaults.

    Raises SettingsError, one line, for the first that is wrong or that there is not.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in os.environ:
        if name.upper().startswith(_OF_THE_CHAT):
            continue
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            raise SettingsError(f"{name}: there is no such setting, but {', '.join(sorted(known))}")
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if not first["loc"]:  # of several settings together
            raise SettingsError(reason) from None
        name = str(first["loc"][0])
        where = f"--{name.replace('_', '-')}" if name in given else f"{_PREFIX}{name.upper()}"
        given_as = "…" if "@" in str(first["input"]) else first["input"]  # it may hold a password
        raise SettingsError(f"{where}={given_as}: should be {reason}") from error
