"""The simulated model: deterministic, with a pace, a script and intended failures.

The same messages and seed give the same answer in every mode and wire format. Without a matching
reply in the script, the answer is a few generated sentences.
"""

import asyncio
import functools
import json
import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from dual_mode_streaming.llm._events import (
    EventType,
    FinishReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    fold,
)
from dual_mode_streaming.llm._forwarding import Answer
from dual_mode_streaming.llm._provider import CUT, ProviderError, error_type_of
from dual_mode_streaming.llm._requests import ChatRequest, NamedTool
from dual_mode_streaming.llm.simulator._journal import Journal
from dual_mode_streaming.llm.simulator._pace import Metronome, Pace
from dual_mode_streaming.llm.simulator._schema import value_of
from dual_mode_streaming.llm.simulator._script import Failure, Reply, Script, ScriptedCall
from dual_mode_streaming.llm.simulator._shown import shown
from dual_mode_streaming.llm.simulator._tokens import count_texts, tokens_of

_WORDS: Final = (
    "stream", "answer", "reader", "frame", "event", "token", "buffer", "signal", "moment", "order",
    "pipeline", "network", "message", "server", "client", "response", "pattern", "bound", "source",
    "rhythm", "channel", "window", "queue", "balance", "record", "segment",
)  # fmt: skip
_VERBS: Final = ("carries", "follows", "meets", "holds", "closes", "opens", "shapes", "marks")
_QUOTED: Final = 1000
"""The characters of a question whose words are repeated."""
_LINKS: Final = ("and then", "while", "because", "so that", "before", "until", "whenever")


class Simulator:
    """A provider that generates its answers, or takes them from a script.

    Args:
        pace: its speed; a reply of the script may have its own.
        script: its replies and failures; see `Script.load`.
        any_model: whether it answers to every name of a model.
        journal: keeps the requests; by default the newest 100.

    Attributes:
        journal: the requests.
    """

    name = "simulator"
    default_model = "simulator"

    def __init__(
        self,
        pace: Pace | None = None,
        script: Script | None = None,
        *,
        any_model: bool = False,
        journal: Journal | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._script = script or Script()
        self.any_model = any_model
        self.journal = Journal() if journal is None else journal

    async def models(self) -> list[str]:
        """Return its own name and those in the script."""
        return [self.default_model, *self._script.models]

    async def count_tokens(self, request: ChatRequest) -> int:
        """Count the tokens of all messages and tools."""
        return self.estimate_tokens(request)

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Count the tokens, exactly."""
        texts = [shown(m) for m in request.messages]
        texts += [call.name + call.arguments for m in request.messages for call in m.tool_calls]
        texts += [f"{t.name} {t.description} {t.parameters}" for t in request.tools]
        return count_texts(texts) + 3 * len(request.messages)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    async def complete(self, request: ChatRequest) -> StreamEvent:
        """Fold the same stream, so that both modes take the same time and give the same answer."""
        return fold([event async for event in self.stream(request)])

    def forwards(self, request: ChatRequest) -> bool:
        """Return whether an answer to the request was recorded in the API that it came in."""
        replies = self._script.replies_to(request)
        return any(reply.recorded and reply.recorded.fits(request) for _, reply in replies)

    async def forward(self, request: ChatRequest, stream: bool) -> AsyncGenerator[Answer, None]:
        """Yield a recorded answer as it came; as events, if it is the turn of another reply."""
        reply = self._begin(request)
        items: AsyncGenerator[Any, None]
        if reply is not None and reply.recorded is not None and reply.recorded.fits(request):
            items = reply.recorded.forwarded(request, (reply.pace or self._pace).replay)
        else:
            items = self._answer(request, (reply,))
            if not stream:
                items = _folded(items)
        async with aclosing(items):
            async for item in items:
                yield item

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the answer, one token an event."""
        return self._answer(request)

    def _begin(self, request: ChatRequest) -> Reply | None:
        """Return the reply of the script, if there is one, and write the journal."""
        number, reply = self._script.next_reply(request)
        self.journal.add(request, number)
        names = ("", self.default_model, *self._script.models)
        if not self.any_model and request.model not in names:
            raise ProviderError(f"there is no model {request.model!r}", "not_found", status=404)
        return reply

    async def _answer(
        self, request: ChatRequest, begun: tuple[Reply | None] | None = None
    ) -> AsyncGenerator[StreamEvent, None]:
        (reply,) = begun or (self._begin(request),)
        if reply is not None and reply.recorded is not None:
            replayed = reply.recorded.events((reply.pace or self._pace).replay)
            async with aclosing(replayed):
                async for event in replayed:
                    yield event
            return
        rng = random.Random(request.digest())  # noqa: S311  (predictable on purpose)
        reply = reply or _generated(request, rng)
        # A client of an API is to see the failure: whether it tries again is its matter.
        is_retryable = None if request.origin is None else False
        failure = reply.failure if reply.failure and self._script.fails(reply) else None
        if failure is not None and failure.status is not None:
            raise ProviderError(
                failure.message,
                error_type_of(failure.status),
                status=failure.status,
                retry_after=failure.retry_after,
                is_retryable=is_retryable,
            )
        metronome = Metronome(reply.pace or self._pace, rng)
        ending = _Ending()
        for number, event in enumerate(_events(request, reply, rng, ending)):
            if failure is not None and number == failure.after_tokens:
                await _fail(failure, is_retryable)
                failure = None  # a stall: the answer continues
                metronome.resume()
            await metronome.wait()
            yield event
        if failure is not None:
            await _fail(failure, is_retryable)
        usage = reply.usage or Usage(
            input_tokens=await self.count_tokens(request), output_tokens=ending.tokens
        )
        yield StreamEvent(
            type=EventType.MESSAGE_COMPLETE,
            finish_reason=ending.reason,
            stop_sequence=ending.stop_sequence,
            usage=usage,
        )


async def _folded(events: AsyncGenerator[StreamEvent, None]) -> AsyncGenerator[StreamEvent, None]:
    yield fold([event async for event in events])


class _Ending:
    """How the deltas of an answer ended, filled in by `_events`."""

    reason: FinishReason = "stop"
    stop_sequence: str | None = None
    tokens = 0


@functools.lru_cache(4096)
def _text(token: str) -> StreamEvent:
    """Return the event of a token; events are immutable, and most tokens repeat."""
    return StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=token))


async def _fail(failure: Failure, is_retryable: bool | None) -> None:
    if failure.stall is not None:
        await asyncio.sleep(failure.stall)
        return
    if failure.cut:
        raise ProviderError(failure.message, "stream_truncated", status=CUT)
    raise ProviderError(failure.message, failure.error_type, is_retryable=is_retryable)


def _events(
    request: ChatRequest, reply: Reply, rng: random.Random, ending: _Ending
) -> Iterator[StreamEvent]:
    """Yield the deltas of a reply, up to the request's max_tokens or a stop sequence."""
    left = request.max_tokens
    if request.thinking or reply.thinking:
        for token in tokens_of(reply.thinking or "Let me see what is asked, and answer that."):
            if left == 0:
                ending.reason = "length"
                return
            left = None if left is None else left - 1
            ending.tokens += 1
            yield StreamEvent(
                type=EventType.THINKING_DELTA, thinking_delta=ThinkingDelta(content=token)
            )
        yield StreamEvent(
            type=EventType.THINKING_DELTA,
            thinking_delta=ThinkingDelta(signature=request.digest().hex()[:32]),
        )
    text, ending.stop_sequence = _until_stop(reply.text, request.stop)
    for token in tokens_of(text):
        if left == 0:
            ending.reason, ending.stop_sequence = "length", None
            return
        left = None if left is None else left - 1
        ending.tokens += 1
        yield _text(token)
    calls = () if ending.stop_sequence else reply.tool_calls
    for index, call in enumerate(calls):
        identity = f"call_{rng.getrandbits(96):024x}"
        head = ToolCallDelta(index=index, id=identity, name=call.name)
        yield StreamEvent(type=EventType.TOOL_CALL_START, tool_call=head)
        for token in tokens_of(call.json_arguments()):
            if left == 0:
                ending.reason = "length"
                return
            left = None if left is None else left - 1
            ending.tokens += 1
            part = ToolCallDelta(index=index, arguments=token)
            yield StreamEvent(type=EventType.TOOL_CALL_DELTA, tool_call=part)
        end = ToolCallDelta(index=index)
        yield StreamEvent(type=EventType.TOOL_CALL_END, tool_call=end)
    ending.reason = reply.finish_reason or ("tool_calls" if calls else "stop")


def _until_stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """Return the text before the first stop sequence, and that sequence."""
    found = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop


def _generated(request: ChatRequest, rng: random.Random) -> Reply:
    """Return a few sentences, or a call of the first tool if the request requires a call."""
    if request.tool_choice not in (None, "auto", "none"):
        chosen = request.tools[0]
        if isinstance(request.tool_choice, NamedTool):
            chosen = next(t for t in request.tools if t.name == request.tool_choice.name)
        call = ScriptedCall(name=chosen.name, arguments=value_of(chosen.parameters))
        return Reply(tool_calls=(call,))
    if request.output is not None:
        schema = request.output.json_schema
        value = {"answer": "text"} if schema is None else value_of(schema)
        return Reply(text=json.dumps(value, ensure_ascii=False))
    question = next(
        (shown(m) for m in reversed(request.messages) if m.role in ("user", "tool")), ""
    )
    opening = (
        f"You said: {' '.join(question[:_QUOTED].split())[:200]}\n\n" if question.strip() else ""
    )
    sentences = []
    for _ in range(rng.randint(3, 6)):
        one, two, three, four = rng.sample(_WORDS, 4)
        link = rng.choice(_LINKS)
        sentences.append(
            f"The {one} {rng.choice(_VERBS)} the {two}, {link} the {three}"
            f" {rng.choice(_VERBS)} the {four}."
        )
    return Reply(text=opening + " ".join(sentences))
