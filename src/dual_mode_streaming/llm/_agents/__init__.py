"""Read the stream of another library's agent or model as the events of one answer."""

import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Any, Final

from dual_mode_streaming.bridges import from_sync
from dual_mode_streaming.llm._agents import (
    _claude,
    _langchain,
    _llama_index,
    _openai_agents,
    _pydantic_ai,
    _raw,
)
from dual_mode_streaming.llm._agents._answer import AgentAnswer
from dual_mode_streaming.llm._events import EventType, StreamEvent

_LIBRARIES: Final = (_pydantic_ai, _openai_agents, _langchain, _raw, _claude, _llama_index)
_STREAMS: Final = ("stream_events", "receive_response", "async_response_gen", "stream_text")
"""The methods that give the stream of a run: openai-agents and LlamaIndex, the Claude Agent SDK's
client, LlamaIndex's query engines, pydantic-ai's `run_stream`."""
_CANCELS: Final = ("cancel_run", "cancel", "interrupt")
"""The methods that end a run which goes on in a task or a process of its own."""


async def agent_events(source: Any) -> AsyncGenerator[StreamEvent, None]:
    """Yield the events of one answer from the stream of an agent or a model.

        @app.post("/ask")
        @dual_mode(fold=fold)
        def ask(question: str) -> AsyncGenerator[StreamEvent, None]:
            return agent_events(query(prompt=question))  # the Claude Agent SDK

    The items are recognized by their fields; no library is imported. They may be:

    - messages of the Claude Agent SDK, whole or partial (`include_partial_messages`);
    - events of openai-agents, of pydantic-ai and of LlamaIndex's agents and models;
    - messages and chunks of LangChain; LangGraph's stream modes `messages`, `updates` and
      `values`; `astream_events`;
    - chunks of the openai and anthropic SDKs, as objects or dicts: chat, responses, messages;
    - text, and `StreamEvent`s.

    An answer of several messages, with tools between them, is one answer here: the calls are
    numbered through and the usage is summed. A message that comes whole after its parts is not
    repeated. Text of subagents is left out. Other items are ignored.

    Args:
        source: an async iterable or a plain one; an awaitable or an async context manager that
            gives one; or the object of a run, as `Runner.run_streamed` and `Agent.run` return it.
            It is closed on every exit; a run that has not ended is cancelled.

    Raises:
        TypeError: `source` is none of these, or has no item of a known kind.
        Exception: what the source raises. An error that it reports as an item is an ERROR event.
    """
    answer = AgentAnswer()
    strange: dict[str, None] = {}  # the types that are of no known kind, in order
    is_known = False
    async with _opened(source) as items:
        async for item in items:
            if (reader := _reader_of(item)) is None:
                strange[type(item).__name__] = None
                continue
            is_known = True
            for event in reader(answer, item):
                yield event
            if answer.has_failed:
                return
    if strange and not is_known:
        raise TypeError(
            f"no item of the stream is of a known kind, but {', '.join(strange)};"
            " see agent_events for what it reads"
        )
    for event in (*_llama_index.llama_calls(answer), *_raw.end_raw(answer), *answer.end()):
        yield event


def _reader_of(item: Any) -> Any:
    if isinstance(item, StreamEvent):
        return AgentAnswer.take
    if isinstance(item, str):
        return AgentAnswer.text
    return next((reader for library in _LIBRARIES if (reader := library.reader_of(item))), None)


async def agent_text(source: Any) -> AsyncGenerator[str, None]:
    """Yield the text of an answer, as it arrives; see `agent_events` for the sources.

        st.write_stream(LiveText(agent_text(query(prompt=question))))

    A blank line separates the texts before and after a tool call.

    Raises:
        RuntimeError: the answer ended in an ERROR event; the message is that of the event.
    """
    wrote = called = False
    async with contextlib.aclosing(agent_events(source)) as events:
        async for event in events:
            if event.text_delta is not None:
                if wrote and called:
                    yield "\n\n"
                wrote, called = True, False
                yield event.text_delta.content
            elif event.type is EventType.ERROR:
                raise RuntimeError(event.error)
            elif event.tool_call is not None:
                called = True


@contextlib.asynccontextmanager
async def _opened(source: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """Find the iterator of a source, and close all that was opened for it."""
    async with contextlib.AsyncExitStack() as stack:
        if inspect.isawaitable(source) and not _has_stream(source):
            source = await source
        if not _has_stream(source) and hasattr(type(source), "__aenter__"):
            source = await stack.enter_async_context(source)
        run, items = source, source
        if not isinstance(items, AsyncIterable):
            items = _items_of(run)
            if inspect.isawaitable(items):
                items = await items
        iterator = aiter(items) if isinstance(items, AsyncIterable) else from_sync(items)
        ended = False

        async def close() -> None:
            if not ended:
                await _cancel(run)
            for part in {id(part): part for part in (iterator, items)}.values():
                if (aclose := getattr(part, "aclose", None)) is not None:
                    await aclose()

        async def watched() -> AsyncIterator[Any]:
            nonlocal ended
            async for item in iterator:
                yield item
            ended = True

        stack.push_async_callback(close)
        yield watched()


def _has_stream(source: Any) -> bool:
    return isinstance(source, AsyncIterable) or any(hasattr(source, name) for name in _STREAMS)


def _items_of(run: Any) -> Any:
    for name in _STREAMS:
        if (method := getattr(run, name, None)) is not None:
            return method(delta=True, debounce_by=None) if name == "stream_text" else method()
    if isinstance(run, Iterable) and not isinstance(run, str | bytes | dict):
        return run
    raise TypeError(
        f"a {type(run).__name__} is no stream of an agent: give an async iterable, or what the"
        " agent's streaming method returns"
    )


async def _cancel(run: Any) -> None:
    for name in _CANCELS:
        if (method := getattr(run, name, None)) is not None and not isinstance(run, AsyncGenerator):
            cancelled = method()
            if inspect.isawaitable(cancelled):
                await cancelled
            return
