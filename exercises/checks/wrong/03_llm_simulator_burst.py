"""There is one wait, and then all tokens at once.

Caught by: with rate=4 the tokens arrive at 0.25 s, 0.5 s, 0.75 s and so on
Found: 0.25 s, 0.25 s, 0.25 s
"""

import asyncio
import re
from collections.abc import AsyncIterator

from dual_mode_streaming.llm import EventType, StreamEvent, TextDelta, Usage


def text_for(question: str) -> str:
    return f"You asked:\n  {question}\n\nI am a small model,  and have to think about it."


async def simulate(question: str, rate: float = 10) -> AsyncIterator[StreamEvent]:
    tokens = re.findall(r"\s*\S+", text_for(question))
    await asyncio.sleep(1 / rate)
    for token in tokens:
        yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=token))
    usage = Usage(input_tokens=len(question.split()), output_tokens=len(tokens))
    yield StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=usage)
