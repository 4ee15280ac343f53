"""The list of models, and one of them, as OpenAI and Anthropic show them."""

import time
from dataclasses import dataclass
from typing import Any, Self

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._forwarding import Dialect
from dual_mode_streaming.llm._provider import Provider


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models of a provider.

    Attributes:
        provider: the provider.
        names: their names.
        dialect: the API that shows them.
    """

    provider: Provider
    names: list[str]
    dialect: Dialect

    @classmethod
    async def of(cls, provider: Provider, dialect: Dialect) -> Self:
        """Ask a provider for its models. Raises ProviderError."""
        return cls(provider, await provider.models(), dialect)

    def body(self) -> dict[str, Any]:
        """Return the list."""
        data = [self._shown(name) for name in self.names]
        if self.dialect != "anthropic":
            return {"object": "list", "data": data}
        ends = {"first_id": self.names[0], "last_id": self.names[-1]} if data else {}
        return {"data": data, "has_more": False, **ends}

    def one(self, name: str) -> dict[str, Any]:
        """Return one model. Raises Problem if there is none of this name."""
        of = getattr(self.provider, "of", None)
        is_any = getattr(self.provider if of is None else of(name), "any_model", False)
        if name not in self.names and not is_any:
            detail = f"there is no model {name[:200]!r}"
            raise Problem(404, detail, param="model", code="model_not_found")
        return self._shown(name)

    def _shown(self, name: str) -> dict[str, Any]:
        if self.dialect == "anthropic":
            made = {"created_at": "2026-01-01T00:00:00Z", "lifecycle": "active"}
            return {"type": "model", "id": name, "display_name": name, **made}
        now, owner = int(time.time()), self.provider.name
        return {"id": name, "object": "model", "created": now, "owned_by": owner}
