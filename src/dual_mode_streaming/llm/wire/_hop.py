"""The mark of this service in the header `Via`, so that a request that comes back is refused."""

import secrets
from collections.abc import Mapping
from typing import Final

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._forwarding import VIA

_MOST: Final = 10


class Hop:
    """One service on the way of a request (RFC 9110, section 7.6.3)."""

    def __init__(self) -> None:
        self._name = f"dual-mode-{secrets.token_hex(6)}"

    def passed(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a request that has passed this service.

        Raises:
            Problem: it has passed this service before, or too many.
        """
        before = [name for name in headers.get(VIA, "").split(",") if name.strip()]
        if any(self._name in name for name in before):
            raise Problem(
                508,
                "this request has passed through this service before: the base URL of its provider "
                "leads back here (DUAL_MODE_LLM_BASE_URL); set it to the URL of the model's API",
                code="loop_detected",
            )
        if sum("dual-mode-" in name for name in before) >= _MOST:
            raise Problem(508, f"this request has passed through {_MOST} services already")
        via = ", ".join([*(name.strip() for name in before), f"1.1 {self._name}"])
        return {**headers, VIA: via}
