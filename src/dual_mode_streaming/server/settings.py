"""The settings of the service: `DUAL_MODE_*` variables, and the flags that override them."""

import re
import secrets
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict
from pydantic_settings.sources import PydanticBaseSettingsSource

from dual_mode_streaming import TokenSigner
from dual_mode_streaming.limits import Admission, LimitBackend, MemoryLimits
from dual_mode_streaming.limits._keys import APIKeys
from dual_mode_streaming.llm import LLMSettings
from dual_mode_streaming.server._config import HttpLimits, Seconds
from dual_mode_streaming.stores import Limits
from dual_mode_streaming.stores._factory import check_address, is_redis
from dual_mode_streaming.web._json_size import BODY_VALUES
from dual_mode_streaming.web._options import Options

__all__ = ["Settings", "SettingsError", "load"]

_OTHERS: Final = "dual_mode_ui_"
"""The prefix of the variables of `dual-mode ui`, which may be set in the same environment."""

_ORIGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://[a-z0-9._~-]+(:\d{1,5})?|[a-z]+://\[[0-9a-f:]+\](:\d{1,5})?"
)
"""An origin as browsers send it (RFC 6454, section 6.1): in lower case, without a path."""


class SettingsError(ValueError):
    """A setting is wrong. The message is one line: its name, its value, what would be right."""


def _split(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("["):
        raise ValueError("values separated by commas, not JSON: ONE,TWO")
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _check_keys(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    try:
        APIKeys(value.get_secret_value() for value in values)
    except ValueError as error:
        right = "one or more keys, each of at least 8 visible ASCII characters without spaces"
        raise ValueError(
            f"{right} (or not set: then no key is needed); {error.args[0].partition(':')[0]}"
        ) from None
    return values


def _check_signing(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    try:
        TokenSigner([value.get_secret_value() for value in values])
    except ValueError:
        raise ValueError("one or more secrets of at least 16 characters") from None
    return values


def _check_origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and not _ORIGIN.fullmatch(value):
            raise ValueError(
                "one or more origins as browsers send them, such as https://app.example or "
                f"http://localhost:5173, without a path or a slash at the end; or *; not {value!r}"
            )
    return values


Count = Annotated[int, Field(ge=1)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
"""Secrets, separated by commas."""


class _Environment(EnvSettingsSource):
    """The environment variables; the unknown ones too, so that `extra="forbid"` refuses them."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        for variable, value in self.env_vars.items():
            name = variable.removeprefix(self.env_prefix.lower())
            if name == variable or variable.startswith(_OTHERS):
                continue
            nested = isinstance(values.get(name.partition("_")[0]), dict)
            if name not in self.settings_cls.model_fields and not nested:
                values[name] = value
        return values


class Settings(HttpLimits, BaseSettings):
    """The settings of the service. Times are in seconds, sizes in bytes.

    The variable of a setting is its name after `DUAL_MODE_`; of one of `llm`, after
    `DUAL_MODE_LLM_`. Without a `token_secret`, a random one is made.
    """

    model_config = SettingsConfigDict(
        env_prefix="DUAL_MODE_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        nested_model_default_partial_update=True,
        extra="forbid",
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=256)
    log_level: Literal["critical", "error", "warning", "info", "debug"] = "info"
    log_format: Literal["text", "json"] = "text"
    drain_delay: float = Field(0.2, ge=0, allow_inf_nan=False)
    drain_timeout: Seconds = 4.0
    body_limit: Count = 4 * 1024 * 1024
    body_values: Count = BODY_VALUES

    heartbeat: Seconds = 15.0
    grace: float = Field(1.0, ge=0, allow_inf_nan=False)
    stream_limit: Seconds | None = None
    idle_timeout: Seconds | None = None
    event_bytes: Count = 16 * 1024 * 1024
    batch_items: Count = 100_000
    batch_bytes: Count = 64 * 1024 * 1024
    batch_seconds: Seconds = 300.0

    store: Annotated[str, AfterValidator(check_address)] = "memory"
    recordings: Count = 100_000
    recording_bytes: Count = 64 * 1024 * 1024
    recordings_bytes: Count = 1024 * 1024 * 1024
    retention: Seconds = 3600.0

    streams: Count = 10_000
    client_streams: Count = 1_000
    cors_origins: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_origins)
    ] = ()
    api_keys: Annotated[Secrets, AfterValidator(_check_keys)] = ()
    key_streams: Count | None = None
    key_requests_a_minute: Count | None = None
    token_secret: Annotated[Secrets, AfterValidator(_check_signing)] = Field(
        default_factory=lambda: (SecretStr(secrets.token_hex(32)),)
    )
    token_seconds: Count = 300

    llm: LLMSettings = LLMSettings(first=0.3, rate=30.0, jitter=0.3, replay=1.0)

    @model_validator(mode="after")
    def _workers_share_the_store(self) -> Self:
        if self.workers > 1 and self.store == "memory":
            raise ValueError("several workers need a store they share: sqlite:PATH or redis://…")
        if self.workers > 1 and self.llm.journal:
            raise ValueError("DUAL_MODE_LLM_JOURNAL: each worker would have its own; set workers=1")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the arguments, then the environment; no files."""
        return init_settings, _Environment(settings_cls)

    def response_options(self) -> Options:
        """Return the options of every response."""
        names = Options.__annotations__.keys() & type(self).model_fields.keys()
        options = {name: getattr(self, name) for name in names}
        return cast(Options, options | {"max_duration": self.stream_limit})

    def store_limits(self) -> Limits:
        """Return the limits of the store of recordings."""
        return Limits(
            retention=self.retention,
            stream_bytes=self.recording_bytes,
            streams=self.recordings,
            total_bytes=self.recordings_bytes,
        )

    def admission(self) -> Admission:
        """Return the limits of answers and keys; all workers share them if the store is Redis."""
        backend: LimitBackend = MemoryLimits()
        if is_redis(self.store):
            from dual_mode_streaming.limits import RedisLimits

            backend = RedisLimits(self.store)
        return Admission(
            streams=self.streams,
            client_streams=self.client_streams,
            keys=(key.get_secret_value() for key in self.api_keys),
            key_streams=self.key_streams,
            key_requests_a_minute=self.key_requests_a_minute,
            backend=backend,
        )

    def tokens(self) -> TokenSigner:
        """Return the signer of the tokens in URLs."""
        values = [secret.get_secret_value() for secret in self.token_secret]
        return TokenSigner(values, seconds=self.token_seconds)


def load(**flags: Any) -> Settings:
    """Return the settings: the flags that are not None, then the environment, then the defaults.

    Raises:
        SettingsError: a setting is wrong, or a `DUAL_MODE_*` variable is unknown.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(_message(error, given)) from None  # its input holds secrets


def _message(error: ValidationError, flags: dict[str, Any]) -> str:
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if not first["loc"]:  # of several settings together
        return reason
    name = "_".join(part for part in first["loc"] if isinstance(part, str))
    variable = f"DUAL_MODE_{name.upper()}"
    if first["type"] == "extra_forbidden":
        return f"{variable}: there is no such setting; the settings are {', '.join(_variables())}"
    where = f"--{name.replace('_', '-')}" if name in flags else variable
    secret = name in ("api_keys", "token_secret") or "@" in str(first["input"])
    return f"{where}={'…' if secret else first['input']}: should be {reason}"


def _variables() -> list[str]:
    names = [*Settings.model_fields, *(f"llm_{name}" for name in LLMSettings.model_fields)]
    return sorted(f"DUAL_MODE_{name.upper()}" for name in names if name != "llm")
