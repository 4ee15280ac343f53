"""Exercise 3: an LLM simulator.

To build a chat without an API key, you need a simulated model. `simulate` yields the events of an
answer like a real model:

- a TEXT_DELTA for each token, `rate` tokens a second; the first token takes time as well;
- all tokens together are exactly the text, with its spaces and line breaks, and no token has more
  than one word;
- at the end a MESSAGE_COMPLETE with the finish reason "stop" and the usage: the number of input
  tokens is the number of words in the question, that of output tokens the number of TEXT_DELTAs.

Read first: examples/03_llm_tokens.py
"""

import asyncio
import re
from collections.abc import AsyncIterator

from dual_mode_streaming.llm import EventType, StreamEvent, TextDelta, Usage


def text_for(question: str) -> str:
    return f"You asked:\n  {question}\n\nI am a small model,  and have to think about it."


async def simulate(question: str, rate: float = 10) -> AsyncIterator[StreamEvent]:
    # TODO: split the text into tokens, yield each at its time, and then MESSAGE_COMPLETE.
    raise NotImplementedError("TODO: yield the tokens at the given rate, then MESSAGE_COMPLETE")
    yield  # makes this a generator function; your own `yield` replaces it
