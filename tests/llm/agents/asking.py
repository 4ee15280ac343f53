"""Runs the streams of a library's agents through `agent_events`, and reports what came of them."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

from dual_mode_streaming.llm import agent_events, agent_text, fold

URL = sys.argv[1]
QUESTION = "weather"  # the script answers it with a call, and what the tool returns with a text
RESULT = "sunny at noon"


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{RESULT} in {city}"


async def read(make: Callable[[], Any]) -> dict[str, Any]:
    events = [event async for event in agent_events(make())]
    answer = fold(events)
    message = answer.message
    return {
        "text": message.content,
        "pieces": sum(event.text_delta is not None for event in events),
        "calls": [(call.name, json.loads(call.arguments)) for call in message.tool_calls],
        "ids": [call.id for call in message.tool_calls],
        "results": [(result.id, result.content) for result in message.tool_results],
        "usage": (answer.usage.input_tokens, answer.usage.output_tokens),
        "reason": answer.finish_reason,
        "as_text": "".join([piece async for piece in agent_text(make())]),
    }


async def leave(make: Callable[[], Any], patience: float) -> list[str]:
    """Leave a stream after its first text; return the tasks that are still there.

    Args:
        make: makes the stream.
        patience: the seconds that what ends by itself may take.
    """
    async with contextlib.aclosing(agent_events(make())) as events:
        async for event in events:
            if event.text_delta is not None:
                break
    for _ in range(50):  # what was cancelled may take some steps to its end
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left and patience:
        _, left = await asyncio.wait(left, timeout=patience)
    return [str(task) for task in left]


async def _tell(ways: dict[str, Callable[[str], Any]], patience: float) -> None:
    document = {}
    for name, way in ways.items():
        document[name] = {
            "agent": await read(lambda way=way: way(QUESTION)),
            "left": await leave(lambda way=way: way("long"), patience),
        }
    print(json.dumps(document))


def tell(*, patience: float = 0, **ways: Callable[[str], Any]) -> None:
    """Print what each way to stream an agent's answer gives."""
    asyncio.run(_tell(ways, patience))
