"""An async stream of text for `st.write_stream`, closed on Stop, or joined again after a reload.

Streamlit ends a script by an exception at its next call of Streamlit, and tells nobody else. So the
reader calls it ten times a second, also while nothing comes. And it iterates a generator of its own
each time: when a script is ended, that one is dropped, whoever still holds the stream.
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
"""Seconds between two looks whether Streamlit wants the script to end."""
_UNSURE = 0.3
"""Seconds for a reader to come back if nobody knows why the last one left."""
_CLEANUP = 5.0


class LiveText:
    """Text that comes from an async stream, for any number of readers in scripts of Streamlit.

        with st.chat_message("assistant"):
            text = st.write_stream(LiveText(words(question)))

    The stream is read in the loop thread, which is the same for the whole process by default, so
    that async clients may be cached. It begins with the first reader, and each reader begins with
    its start.

    Bound: none; an answer is kept whole, as the history of a chat keeps it.
    On error: what came before is given, then the error is raised as it is.
    On early exit: Stop, a rerun, a closed page end the stream: it is cancelled, and closed in its
    task, before the script goes on. With `keep`, only Stop does at once. After a rerun or a reload
    somebody may read again within `keep` seconds; then it is as if nothing had been.

    Args:
        source: what is read; each item is text.
        hz: how often a second text is given at most; what came meanwhile is one piece.
        keep: seconds that the stream goes on without a reader, but for Stop.
        loop: the thread that reads it.
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
            raise ValueError("hz must be more than 0, and keep not less")
        self.status: Status = "waiting"
        self.error: BaseException | None = None
        self._source = source
        self._pause = 1 / hz
        self._keep = keep
        self._loop = loop or shared_loop()
        self._owner = Owner(_CLEANUP)
        self._parts: list[str] = []
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._readers = 0
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._parts)

    @property
    def is_live(self) -> bool:
        """Whether more may come."""
        return not self._ended.is_set()

    def __iter__(self) -> Generator[str, None, None]:
        """Read from the start, and go on with what comes."""
        given = 0
        self._enter()
        idle = 0.0  # so many seconds it may be without a reader now
        try:
            while True:
                _let_streamlit_speak()
                with self._news:
                    ended = self._ended.is_set()
                    if len(self._parts) == given and not ended:
                        self._news.wait(_POLL)
                    fresh = self._parts[given:]
                given += len(fresh)
                if fresh:
                    yield "".join(fresh)
                    self._ended.wait(self._pause)
                elif ended:
                    break
        except BaseException as error:
            idle = self._patience(error)
            raise
        finally:
            self._leave(idle)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End the stream, and wait until it is closed. From any thread but the loop's."""
        with self._news:
            if self._ended.is_set():
                return
            never = self.status == "waiting"
            self.status = "stopped"
            if never:
                self._ended.set()
        if not never:
            self._loop.call(self._cancel)
            self._ended.wait(3 * _CLEANUP)

    # In the reader's thread.

    def _enter(self) -> None:
        with self._news:
            self._readers += 1
            begins = self.status == "waiting"
            if begins:
                self.status = "streaming"
        if begins:
            self._loop.call(self._start)

    def _leave(self, idle: float) -> None:
        with self._news:
            self._readers -= 1
            alone = self._readers == 0 and not self._ended.is_set()
        if idle:
            self._loop.call(self._wait_for_readers, idle)
        elif alone:
            self.stop()

    def _patience(self, error: BaseException) -> float:
        """How long the stream may go on without a reader, after what ended this one."""
        name = type(error).__name__
        if name == "StopException" and _is_connected():
            self.stop()  # whoever else reads it
        elif name in ("StopException", "RerunException"):
            return self._keep
        elif name == "GeneratorExit" and self._keep:
            return _UNSURE if _is_connected() else self._keep
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
                with self._news:
                    self._parts.append(piece)
                    self._news.notify_all()

    def _finish(self, task: "asyncio.Task[None]") -> None:
        with self._news:
            if self.status == "streaming":  # nobody has asked for its end
                error = SourceCancelled() if task.cancelled() else task.exception()
                self.error = error
                self.status = "done" if error is None else "failed"
            elif not task.cancelled():
                task.exception()  # seen; that it was stopped says more
            self._ended.set()
            self._news.notify_all()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _wait_for_readers(self, seconds: float) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(seconds, self._if_alone)

    def _if_alone(self) -> None:
        with self._news:
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


def _let_streamlit_speak() -> None:
    """Raise what ends this script, if it is to end: any look at the session's state does."""
    _ = "dual_mode_streaming" in _streamlit().session_state


def _is_connected() -> bool:
    """Whether the script's page is still there: Streamlit stops the scripts of those that left."""
    from streamlit.runtime import exists, get_instance
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not exists():
        return True
    time.sleep(0.03)  # a page that leaves is told to stop, and only then forgotten
    return bool(get_instance().is_active_session(context.session_id))
