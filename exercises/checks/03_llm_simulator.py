"""The checks of exercise 3: the text, the rate, and the end of a simulated answer."""

import asyncio
from typing import Any

from exercises.checks.task import Task

from dual_mode_streaming.llm import EventType

AT = "simulate"
READ = "docs/llm.md, and examples/03_llm_tokens.py"
HINTS = (
    """
A token is a word together with the spaces before it. All tokens together are then the whole text. A
client must be able to tell a complete answer from one that was cut; the last event is for this.
""",
    """
`re.findall(r"\\s*\\S+", text)` splits a text into such tokens. Wait `1 / rate` seconds before
each. The events are
    StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=…))
    StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason=…, usage=Usage(…))
""",
    """
tokens = re.findall(r"\\s*\\S+", text_for(question))
for token in tokens:
    await asyncio.sleep(1 / rate)
    yield StreamEvent(...)
yield StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=Usage(...))
""",
)
QUESTION = "Why do streams leak?"


async def check(it: Any, task: Task) -> None:
    loop = asyncio.get_running_loop()
    task.aim("all tokens together are exactly the text", it.text_for(QUESTION))
    events, moments, begun = [], [], loop.time()
    async for event in it.simulate(QUESTION, rate=4):
        events.append(event)
        moments.append(loop.time() - begun)
    deltas = [event for event in events if event.type is EventType.TEXT_DELTA]
    tokens = [event.text_delta.content for event in deltas]
    task.found("".join(tokens))

    task.aim("no token has more than one word", [])
    task.found([token for token in tokens if len(token.split()) > 1])

    times = [f"{number / 4:g} s" for number in range(1, len(tokens) + 1)]
    task.aim(
        "with rate=4 the tokens arrive at 0.25 s, 0.5 s, 0.75 s and so on",
        f"{', '.join(times[:4])} … {times[-1]}",
    )
    seen = [f"{moment:.4g} s" for moment in moments[: len(tokens)]]
    task.found(f"{', '.join(seen[:4])} … {seen[-1]}")

    task.aim("the last event says that the answer is complete", "message_complete")
    task.found(str(events[-1].type.value))

    task.aim("MESSAGE_COMPLETE has the finish reason", "stop")
    task.found(events[-1].finish_reason)

    usage = events[-1].usage
    task.aim(
        "MESSAGE_COMPLETE has the usage",
        f"{len(QUESTION.split())} input tokens, {len(tokens)} output tokens",
    )
    if usage is None:
        task.fail("no usage")
    task.found(f"{usage.input_tokens} input tokens, {usage.output_tokens} output tokens")
