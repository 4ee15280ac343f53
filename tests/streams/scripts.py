"""Sources and consumers that follow a script and record what happened to them."""

import asyncio
from dataclasses import dataclass, field

import uvloop
from hypothesis import strategies as st

from dual_mode_streaming.testing import VirtualClockLoop

LOOPS = {"asyncio": VirtualClockLoop, "uvloop": uvloop.new_event_loop}
NEVER = {
    "asyncio": 10_000,
    "uvloop": 60,
}  # seconds until a run counts as hung


class Boom(Exception):
    """The error that a source raises."""


@dataclass
class Source:
    """A stream that follows a script, as a generator or as an iterator with `aclose`."""

    script: list
    generator: bool = True
    number: int = 0
    on_pull: object = None
    started: bool = False
    pulled: list = field(default_factory=list)
    error: Boom | None = None
    closed: int = 0
    read_by: set = field(default_factory=set)
    closed_by: object = None

    def stream(self):
        items = self._items()
        return items if self.generator else Iterator(self, items)

    async def _items(self):
        self.started = True
        self.read_by.add(asyncio.current_task())
        try:
            for step in self.script:
                self.read_by.add(asyncio.current_task())
                match step:
                    case "item" | "none":
                        item = (self.number, len(self.pulled)) if step == "item" else None
                        self.pulled.append(item)
                        if self.on_pull is not None:
                            self.on_pull()
                        yield item
                    case "suspend":
                        await asyncio.sleep(0)
                    case "raise":
                        self.error = Boom(self.number)
                        raise self.error
                    case seconds:
                        await asyncio.sleep(seconds)
        finally:
            self.closed += self.generator
            self.closed_by = asyncio.current_task()
            await asyncio.sleep(0)

    @property
    def items(self):
        """The items of the whole script."""
        end = self.script.index("raise") if "raise" in self.script else len(self.script)
        steps = [step for step in self.script[:end] if step in ("item", "none")]
        return [(self.number, n) if s == "item" else None for n, s in enumerate(steps)]


class Iterator:
    """An async iterator that is not a generator: it must be closed exactly once."""

    def __init__(self, source, items):
        self.source = source
        self.items = items

    def __aiter__(self):
        return self

    def __anext__(self):
        return anext(self.items)

    async def aclose(self):
        self.source.closed += 1
        self.source.closed_by = asyncio.current_task()
        await self.items.aclose()
        self.source.closed_by = asyncio.current_task()


@dataclass
class Consumer:
    """Reads a stream as its script says, and records the items and the end."""

    leave_after: int | None = None
    cancel_after: int | None = None  # iterations of the loop
    pauses: list = field(default_factory=lambda: [None])
    got: list = field(default_factory=list)
    error: BaseException | None = None
    whole: bool = False
    gone: bool = False

    async def read(self, stream):
        try:
            async with stream:
                if self.leave_after == 0:
                    return
                async for item in stream:
                    self.got.append(item)
                    if len(self.got) == self.leave_after:
                        return
                    match self.pauses[len(self.got) % len(self.pauses)]:
                        case None:
                            pass
                        case "suspend":
                            await asyncio.sleep(0)
                        case seconds:
                            await asyncio.sleep(seconds)
                self.whole = True
        except BaseException as error:
            self.error = error
            raise

    async def run(self, stream):
        """Read in a task, and cancel it when the script says so."""
        task = asyncio.create_task(self.read(stream))
        if self.cancel_after is not None:
            for _ in range(self.cancel_after):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait({task})
        self.gone = True
        await stream.aclose()  # a task that is cancelled at once never started to read
        assert self.error is None or task.cancelled() or task.exception() is self.error


def scripts(*, sleeps=True, none=True, errors=True):
    steps = ["item"] * 4 + ["suspend"] * 2 + ["none"] * none + ["raise"] * errors
    return st.lists(st.sampled_from([*steps, *[0.5, 2.0] * sleeps]), max_size=12)


def sources(**options):
    return st.builds(Source, script=scripts(**options), generator=st.booleans())


def consumers(sleeps=True):
    pause = st.sampled_from([None, None, "suspend", *[1.0] * sleeps])
    how = st.sampled_from(["all", "all", "leave", "cancel"])
    return st.builds(
        lambda how, number, pauses: Consumer(
            leave_after=number if how == "leave" else None,
            cancel_after=number if how == "cancel" else None,
            pauses=pauses,
        ),
        how,
        st.integers(0, 12),
        st.lists(pause, min_size=1, max_size=4),
    )


def play(loop_name, program):
    """Run a coroutine function in a new loop, and check what holds for everything: it terminates,
    no task or generator is left, and the loop's exception handler is not called."""
    complaints = []

    async def guarded():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        hung = False

        def give_up(task=asyncio.current_task()):
            nonlocal hung
            hung = True
            for each in asyncio.all_tasks(loop):
                each.cancel()

        guard = loop.call_later(NEVER[loop_name], give_up)
        try:
            result = await program()
        except BaseException:
            if hung:
                raise AssertionError("it does not terminate") from None
            raise
        guard.cancel()
        assert not hung, "it does not terminate"
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left"
        assert not [g for g in loop._asyncgens if g.ag_frame] if loop_name == "asyncio" else True
        return result

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        result = runner.run(guarded())
    assert complaints == []
    return result
