"""The text is split at its spaces, and the spaces are missing.

Caught by: all tokens together are exactly the text
Found: Youasked:Whydostreamsleak?
"""

import asyncio
import re
from collections.abc import AsyncIterator

from dual_mode_streaming.llm import EventType, StreamEvent, TextDelta, Usage


def text_for(question: str) -> str:
    return f"You asked:\n  {question}\n\nI am a small model,  and have to think about it."


async def simulate(question: str, rate: float = 10) -> AsyncIterator[StreamEvent]:
    tokens = text_for(question).split()
    for token in tokens:
        await asyncio.sleep(1 / rate)
        yield StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=token))
    usage = Usage(input_tokens=len(question.split()), output_tokens=len(tokens))
    yield StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=usage)
