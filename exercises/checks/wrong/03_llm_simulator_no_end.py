"""The generator stops after the last token, without an end event.

Caught by: the last event says that the answer is complete
Found: text_delta
"""

import asyncio
import re
from collections.abc import AsyncIterator

from dual_mode_streaming.llm import EventType, StreamEvent, TextDelta, Usage


def text_for(question: str) -> str:
    return f"You asked:\n  {question}\n\nI am a small model,  and have to think about it."


async def simulate(question: str, rate: float = 10) -> AsyncIterator[StreamEvent]:
    tokens = re.findall(r"\s*\S+", text_for(question))
    for token in tokens:
        await asyncio.sleep(1 / rate)
        yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=token))
