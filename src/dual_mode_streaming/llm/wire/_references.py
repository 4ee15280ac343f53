"""References of a request to items of kept responses, by the ids of the items."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dual_mode_streaming.llm.wire._responses_items import reference_of

_OURS: Final = re.compile(r"[a-z]+_([0-9a-f]+)_\d+")
"""The id of an item that was made here has the one of its response in it."""
_MOST: Final = 1000
"""The most responses that one request looks up."""


async def with_items(
    body: dict[str, Any],
    is_known: Callable[[str], bool],
    output_of: Callable[[str], Awaitable[list[dict[str, Any]]]],
) -> dict[str, Any]:
    """Return a body with the items of kept responses in place of the references to them.

    What is not found stays a reference: the provider may know it.

    Args:
        body: the body.
        is_known: whether this worker remembers an item.
        output_of: returns the output of a kept response; nothing if there is none.
    """
    given = body.get("input")
    if not isinstance(given, list):
        return body
    outputs: dict[str, dict[str, Any]] = {}
    items = []
    for item in given:
        identity = reference_of(item)
        if identity is not None and not is_known(identity) and (made := _OURS.fullmatch(identity)):
            response = f"resp_{made[1]}"
            if response not in outputs and len(outputs) < _MOST:
                outputs[response] = {
                    str(each.get("id")): each for each in await output_of(response)
                }
            item = outputs.get(response, {}).get(identity, item)
        items.append(item)
    return {**body, "input": items} if outputs else body
