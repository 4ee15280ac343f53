"""Where a channel is: in the store of the app that serves here, or in one of its own."""

import asyncio
import atexit
import os
from contextvars import ContextVar
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from dual_mode_streaming.bridges._loop_thread import LoopThread
from dual_mode_streaming.recordings import Recordings
from dual_mode_streaming.stores import Store, open_store

StoreLike = Store | str | None
"""A store, its address, or None for that of the app."""


class Place(Protocol):
    """What opens the stores of channels in one event loop, and closes them."""

    def recordings_at(self, store: StoreLike) -> Recordings:
        """Return the streams of a store in the running event loop."""
        ...


_Loops = WeakKeyDictionary[asyncio.AbstractEventLoop, list[Place]]

serving: Final[ContextVar[Place]] = ContextVar("the place of the app whose request is answered")

_apps: Final[_Loops] = WeakKeyDictionary()
_programs: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, "_Program"]] = WeakKeyDictionary()


def begin(place: Place) -> None:
    """Note that an app serves in the running event loop."""
    places = _apps.setdefault(asyncio.get_running_loop(), [])
    if place not in places:  # a request may have come before the lifespan
        places.append(place)


def end(place: Place) -> None:
    """Note that the app has ended."""
    if place in (places := _apps.get(asyncio.get_running_loop(), [])):
        places.remove(place)


def app_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop of this process in which an app serves; None if there is none."""
    running = [loop for loop, places in [*_apps.items()] if places and loop.is_running()]
    return running[0] if len(running) == 1 else None


def recordings_at(store: StoreLike) -> Recordings:
    """Return the streams of a store in the running event loop.

    Raises:
        RuntimeError: the store is that of the app, and no app or more than one serves here.
    """
    loop = asyncio.get_running_loop()
    places = _apps.get(loop, [])
    if (own := serving.get(None)) is not None and own in places:
        return own.recordings_at(store)
    if store is not None and not places:
        return _programs.setdefault(loop, _Program()).recordings_at(store)
    if store is None and len(places) != 1:
        where = "more than one app serves" if places else "no app with install() serves"
        raise RuntimeError(f"{where} here, so give the channel its store: Channel(…, store=…)")
    return places[0].recordings_at(store)


async def aclose() -> None:
    """Close what this program, which is no app, has opened in the running event loop."""
    if (program := _programs.pop(asyncio.get_running_loop(), None)) is not None:
        for recordings in program.opened.values():
            await recordings.aclose()


class _Program:
    """The stores of a program without an app, in one event loop."""

    def __init__(self) -> None:
        self.opened: dict[str | int, Recordings] = {}
        self._kept: list[Store] = []

    def recordings_at(self, store: StoreLike) -> Recordings:
        assert store is not None
        key = store if isinstance(store, str) else id(store)
        if key not in self.opened:
            opened = open_store(store) if isinstance(store, str) else store
            if (reopen := getattr(opened, "reopen", None)) is not None:
                reopen()  # it was used in an earlier event loop
            self._kept.append(opened)
            self.opened[key] = Recordings(opened)
        return self.opened[key]


def close_thread() -> None:
    """Close the stores of a program without an event loop, and end its thread, if there are any."""
    if _thread.is_running:
        _thread.run(aclose())
        _thread.close()


def thread() -> LoopThread:
    """Return the thread in which a program without an event loop uses channels."""
    return _thread


def _replace_thread() -> None:
    """Start again in a forked child, such as a Celery worker, which has no copy of the thread.

    What was open stays as it is: closing it here would take the parent's sockets from its loop.
    """
    global _thread
    _inherited.append((_thread, {**_apps}, {**_programs}))
    _thread = LoopThread("channels")
    _apps.clear()
    _programs.clear()


_thread = LoopThread("channels")
_inherited: Final[list[object]] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_thread)
atexit.register(close_thread)
