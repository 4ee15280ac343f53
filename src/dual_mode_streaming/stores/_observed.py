"""A wrapper that reports the duration of every call of a store."""

import functools
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final, cast

from dual_mode_streaming.stores._base import Store

_TIMED: Final = frozenset(
    {
        *("create", "find", "append", "publish", "read", "info", "cancel", "take_over"),
        *("abandoned", "delete"),
    }
)


def observed(store: Store, report: Callable[[str, float, bool], None]) -> Store:
    """Return a store that reports its calls.

    Args:
        store: the store that does the work.
        report: called after each call with the name of the method, the seconds that it took, and
            whether it raised an exception.
    """
    return cast(Store, _Observed(store, report))


class _Observed:
    """Passes everything on to a store."""

    def __init__(self, store: Store, report: Callable[[str, float, bool], None]) -> None:
        self._store = store
        self._report = report

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if name in _TIMED:
            value = functools.partial(self._call, name, value)
            setattr(self, name, value)
        return value

    async def _call(
        self, name: str, method: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        began = perf_counter()
        failed = True
        try:
            result = await method(*args, **options)
            failed = False
        finally:
            self._report(name, perf_counter() - began, failed)
        return result
