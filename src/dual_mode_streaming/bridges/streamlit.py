"""An async stream of text for `st.write_stream`: closed on Stop, joined again after a reload.

Streamlit ends a script by an exception at its next call into Streamlit, and in no other way. So a
reader makes such a call ten times a second, also while no text arrives. Each reader iterates a
generator of its own: it is finalized with the script, even if a variable still holds the stream.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterable, Generator
from typing import Any, Literal

from dual_mode_streaming.bridges._loop_thread import LoopThread, shared_loop
from dual_mode_streaming.errors import SourceCancelled
from dual_mode_streaming.running.owner import Owner

__all__ = ["LiveText"]

Status = Literal["waiting", "streaming", "done", "stopped", "failed"]

_POLL = 0.1
"""Seconds between two checks whether Streamlit wants the script to end."""
_RETURN_GRACE = 0.3
"""Seconds that the stream runs on without a reader if the page is open and it is unknown why the
last reader ended."""
_CLEANUP = 5.0
"""Seconds for the cleanup of the source."""


class LiveText:
    """The text of an async stream, for any number of readers in Streamlit scripts.

        with st.chat_message("assistant"):
            text = st.write_stream(LiveText(words(question)))

    In: an async iterable of text, read in a loop thread from the first reader on. Out: each reader
    gets the text from its start.

    Bound: none; the whole text is kept, as the history of a chat keeps it.
    On error: the text before it is yielded, then the error is raised as it is.
    On early exit: Stop, a rerun or a closed page ends the stream: it is cancelled, and closed in
    its task, before the script continues. With `keep`, only Stop ends it at once; after a rerun or
    a reload a reader can join again within `keep` seconds.

    Args:
        source: the stream. It is closed by the task that read it.
        hz: how many pieces of text per second a reader gets at most; text between is joined.
        keep: seconds that the stream runs on without a reader.
        loop: the thread that reads it; by default `shared_loop()`, so async clients can be cached.

    Raises:
        ValueError: `hz` is not above 0, or `keep` is negative.
    """

    def __init__(
        self,
        source: AsyncIterable[str],
        *,
        hz: float = 20,
        keep: float = 0,
        loop: LoopThread | None = None,
    ) -> None:
        if hz <= 0 or keep < 0:
            raise ValueError(f"hz must be above 0 and keep at least 0, not {hz} and {keep}")
        self.status: Status = "waiting"
        self.error: BaseException | None = None
        self._source = source
        self._pause = 1 / hz
        self._keep = keep
        self._loop = loop or shared_loop()
        self._owner = Owner(_CLEANUP)
        self._parts: list[str] = []
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._readers = 0
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    @property
    def is_live(self) -> bool:
        """Whether more text may arrive."""
        return not self._ended.is_set()

    def __iter__(self) -> Generator[str, None, None]:
        """Read from the start, and continue with what arrives."""
        yielded = 0
        self._enter()
        idle = 0.0  # seconds the stream may run without a reader
        try:
            while True:
                _check_script()
                with self._changed:
                    ended = self._ended.is_set()
                    if len(self._parts) == yielded and not ended:
                        self._changed.wait(_POLL)
                    fresh = self._parts[yielded:]
                yielded += len(fresh)
                if fresh:
                    yield "".join(fresh)
                    self._ended.wait(self._pause)
                elif ended:
                    break
        except BaseException as error:
            idle = self._idle_limit(error)
            raise
        finally:
            self._leave(idle)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End the stream and wait until it is closed. Call it in any thread but the loop's."""
        with self._changed:
            if self._ended.is_set():
                return
            unread = self.status == "waiting"
            self.status = "stopped"
            if unread:
                self._ended.set()
        if not unread:
            self._loop.call(self._cancel)
            self._ended.wait(3 * _CLEANUP)

    # In the reader's thread.

    def _enter(self) -> None:
        with self._changed:
            self._readers += 1
            begins = self.status == "waiting"
            if begins:
                self.status = "streaming"
        if begins:
            self._loop.call(self._start)

    def _leave(self, idle: float) -> None:
        with self._changed:
            self._readers -= 1
            alone = self._readers == 0 and not self._ended.is_set()
        if idle:
            self._loop.call(self._wait_for_readers, idle)
        elif alone:
            self.stop()

    def _idle_limit(self, error: BaseException) -> float:
        """Return how long the stream may run without a reader, given what ended this one."""
        name = type(error).__name__
        if name == "StopException" and _is_connected():
            self.stop()  # for all readers
        elif name in ("StopException", "RerunException"):
            return self._keep
        elif name == "GeneratorExit" and self._keep:
            return _RETURN_GRACE if _is_connected() else self._keep
        return 0

    # In the loop's thread.

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._owner.run(self._read()))
        self._task.add_done_callback(self._finish)

    async def _read(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            items = aiter(self._source)
            for part in {id(part): part for part in (self._source, items)}.values():
                if hasattr(part, "aclose"):
                    stack.push_async_callback(part.aclose)
            async for piece in items:
                with self._changed:
                    self._parts.append(piece)
                    self._changed.notify_all()

    def _finish(self, task: "asyncio.Task[None]") -> None:
        with self._changed:
            if self.status == "streaming":  # it was not stopped
                error = SourceCancelled() if task.cancelled() else task.exception()
                self.error = error
                self.status = "done" if error is None else "failed"
            elif not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not log it
            self._ended.set()
            self._changed.notify_all()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _wait_for_readers(self, seconds: float) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(seconds, self._if_alone)

    def _if_alone(self) -> None:
        with self._changed:
            alone = self._readers == 0 and not self._ended.is_set()
            if alone:
                self.status = "stopped"
        if alone:
            self._cancel()


def _streamlit() -> Any:
    try:
        import streamlit
    except ModuleNotFoundError as error:
        raise ImportError("LiveText needs: pip install 'dual-mode-streaming[ui]'") from error
    return streamlit


def _check_script() -> None:
    """Raise what ends this script, if it should end: reading the session's state does that."""
    _ = "dual_mode_streaming" in _streamlit().session_state


def _is_connected() -> bool:
    """Return whether the page is open: Streamlit also stops the scripts of closed pages."""
    from streamlit.runtime import exists, get_instance
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not exists():
        return True
    time.sleep(0.03)  # Streamlit stops the script of a closed page before it forgets the session
    return bool(get_instance().is_active_session(context.session_id))
