"""How does the answer of a language model reach a client token by token?

Seen: the first token arrived after half a second, then four tokens a second, so a person can read
from the start. The document arrived after the last token, with the same text in one piece.

Try next: make the pace slower. Give the model `failure=Failure(after_tokens=3)` in its Reply, and
see how the stream ends. For a real model, write `LLMClient()` without a provider, set
ANTHROPIC_API_KEY and DUAL_MODE_LLM_PROVIDER=anthropic, and use `asyncio.run` with the real clock.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
from fastapi import FastAPI

from dual_mode_streaming import dual_mode
from dual_mode_streaming.llm import EventType, LLMClient, Pace, Reply, Script, Simulator
from dual_mode_streaming.testing import StreamingTransport, read_events, run_with_virtual_clock

app = FastAPI()
script = Script(reply=(Reply(text="Streams leak when nobody closes them."),))
model = LLMClient(Simulator(pace=Pace(first=0.5, rate=4), script=script))  # needs no key


async def whole_text(tokens: AsyncIterator[str]) -> dict[str, str]:
    return {"text": "".join([token async for token in tokens])}


@app.get("/ask")
@dual_mode(fold=whole_text)
async def ask(question: str) -> AsyncIterator[str]:
    async with aclosing(model.chat_completion(question)) as events:
        async for event in events:
            if event.type is EventType.TEXT_DELTA and event.text_delta is not None:
                yield event.text_delta.content
            elif event.type is EventType.ERROR:
                raise RuntimeError(event.error)


def say(text: str) -> None:
    print(f"{asyncio.get_running_loop().time():5.2f} s  {text}")


async def main() -> None:
    transport = StreamingTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client:
        say("A client requests the answer as a stream.")
        address = "/ask?question=Why+do+streams+leak"
        async with client.stream("GET", f"{address}&stream=true") as answer:
            async for event in read_events(answer):
                say(f"{event.event or 'token'}: {event.data}")
        say("Another client requests the same answer as a document.")
        say((await client.get(address)).text)


if __name__ == "__main__":
    run_with_virtual_clock(main())
