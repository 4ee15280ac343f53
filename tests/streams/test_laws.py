"""The laws, as property tests: every operator keeps them, whatever sources and consumers do.

1. The stream terminates.
2. It is complete, and in order per source; None is an item.
3. An error is raised as it is; closing raises nothing.
4. A cancelled consumer gets its CancelledError, and nothing else is cancelled.
5. Each started source is closed exactly once,
6. by the task that iterated it.
7. No task is left, and the loop's exception handler is not called.
8. Every branch of a split gets all items, or the error.
9. Closing one branch does not affect the others.
10. Pulled minus delivered never exceeds the bound.
11. Sources that are always ready share fairly.
12. A stream that was never started closes its sources.
13. A source's own timeout is raised as TimeoutError.
Law 14, of the bridges, is in tests/bridges.
"""

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dual_mode_streaming import streams
from dual_mode_streaming.streams import Broadcast, Overflow, Processor, each

from .scripts import LOOPS, Boom, Consumer, Source, consumers, play, sources

FAR = 1e6


@Processor
async def same(stream):
    async for item in stream:
        yield item


@each(concurrency=3)
async def one_by_one(item):
    await asyncio.sleep(0)
    yield item


@each(concurrency=3)
async def waits(item):
    await asyncio.sleep(0)
    return item


@each(concurrency=2)
async def nothing(item):
    return
    yield


@dataclass
class Case:
    """An operator: how to apply it, and what its output must be."""

    make: Any  # (streams, maxsize) -> its output streams
    many: bool = False  # takes several sources
    ordered: bool = True  # the items of one source after the other
    whole: bool = True  # nothing is dropped
    bound: Any = lambda maxsize: maxsize  # on what is pulled from a source and not delivered
    flat: Any = lambda got: got  # the items in the output


def broadcast(stream, maxsize, overflow=Overflow.BLOCK):
    cast = Broadcast(stream, maxsize=maxsize, overflow=overflow, stop_after_last=True)
    return [cast.subscribe(), cast.subscribe()]


def flatten(batches):
    return [item for batch in batches for item in batch]


def single(operator, **options):
    return Case(lambda s, m: [operator(s[0], m)], **options)


def none_ahead(maxsize):
    return 1


CASES = {
    "merge": Case(lambda s, m: [streams.merge(*s, maxsize=m)], many=True, ordered=False),
    "merge-first": Case(
        lambda s, m: [streams.merge(s, maxsize=m, stop_on_first=True)],
        many=True,
        ordered=False,
        whole=False,
    ),
    "concat": Case(lambda s, m: [streams.concat(*s, maxsize=m)], many=True),
    "split": Case(lambda s, m: streams.split(s[0], maxsize=m)),
    "split3-copies": Case(lambda s, m: streams.split(s[0], 3, maxsize=m, with_copy=True)),
    "split-drop": Case(
        lambda s, m: streams.split(s[0], maxsize=m, overflow=Overflow.DROP_NEWEST),
        whole=False,
        bound=None,
    ),
    "buffer": single(lambda s, m: streams.buffer(s, m)),
    "buffer-bytes": single(lambda s, m: streams.buffer(s, m, 2, size_of=lambda _: 1)),
    "buffer-oldest": single(
        lambda s, m: streams.buffer(s, m, overflow=Overflow.DROP_OLDEST), whole=False, bound=None
    ),
    "buffer-coalesce": single(
        lambda s, m: streams.buffer(s, m, overflow=Overflow.COALESCE), whole=False, bound=None
    ),
    "broadcast": Case(lambda s, m: broadcast(s[0], m)),
    "broadcast-oldest": Case(
        lambda s, m: broadcast(s[0], m, Overflow.DROP_OLDEST), whole=False, bound=None
    ),
    "map": single(lambda s, _: streams.map(s, lambda item: item), bound=none_ahead),
    "map-async": single(lambda s, _: streams.map(s, _identity), bound=none_ahead),
    "filter": single(lambda s, _: streams.filter(s, lambda _: True), bound=none_ahead),
    "take": single(lambda s, _: streams.take(s, 1000), bound=none_ahead),
    "batched": single(
        lambda s, m: streams.batched(s, min(m, 3)), flat=flatten, bound=lambda m: min(m, 3)
    ),
    "batched-in-time": single(
        lambda s, m: streams.batched(s, min(m, 3), 0.7), flat=flatten, bound=lambda m: 2 * min(m, 3)
    ),
    "pace": single(lambda s, _: streams.pace(s, 0.001), bound=none_ahead),
    "throttle": single(lambda s, _: streams.throttle(s, 0.001), whole=False, bound=None),
    "idle_timeout": single(lambda s, m: streams.idle_timeout(s, FAR, maxsize=m)),
    "heartbeat": single(lambda s, m: streams.heartbeat(s, FAR, str, maxsize=m)),
    "deadline": single(lambda s, m: streams.deadline(s, FAR, maxsize=m)),
    "zip": single(lambda s, _: streams.map(streams.zip(s), lambda row: row[0]), bound=none_ahead),
    "processor": single(lambda s, _: (same + same)(s), bound=none_ahead),
    "each": single(lambda s, _: one_by_one(s), bound=lambda _: 3),
    "each-chain": single(lambda s, _: (one_by_one + waits + one_by_one)(s), bound=lambda _: 9),
    "each-both": single(lambda s, _: (one_by_one // nothing)(s), bound=lambda _: 3),
    "aenumerate": single(
        lambda s, _: streams.map(streams.aenumerate(s), lambda pair: pair[1]), bound=none_ahead
    ),
    "parallel": Case(
        lambda s, _: [streams.batched((same // same)(s[0]), 1)],
        whole=False,
        ordered=False,
        flat=flatten,
        bound=None,
    ),
}


async def _identity(item):
    await asyncio.sleep(0)
    return item


each_case = pytest.mark.parametrize("name", CASES)
each_loop = pytest.mark.parametrize("loop", LOOPS)
each_bound = pytest.mark.parametrize("maxsize", [1, 64])
# No deadline: a busy machine would exceed it.
unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck))
quick = settings(unhurried, max_examples=25)
thorough = settings(unhurried, max_examples=1000)


def holds(name, loop, maxsize, given_sources, readers):
    """Run the case, and check the laws."""
    case = CASES[name]
    for number, source in enumerate(given_sources):
        source.number = number
    if not case.many:
        del given_sources[1:]

    async def program():
        made = case.make([source.stream() for source in given_sources], maxsize)
        while len(readers) < len(made):
            readers.append(Consumer())
        del readers[len(made) :]

        def on_pull():
            pulled = sum(len(source.pulled) for source in given_sources)
            active = [r for r in readers if not (r.whole or r.gone or r.error or _left(r))]
            if active:
                slowest = min(len(case.flat(r.got)) for r in active)
                most = max(case.bound(maxsize), 1) * len(given_sources)
                assert pulled - slowest <= most, f"{pulled} pulled, {slowest} delivered"

        if case.bound is not None:
            for source in given_sources:
                source.on_pull = on_pull
        await asyncio.gather(
            *(reader.run(stream) for reader, stream in zip(readers, made, strict=True))
        )

    play(loop, program)

    errors = [source.error for source in given_sources if source.error]
    for reader in readers:
        got = case.flat(reader.got)
        if reader.error is not None:
            cancelled = isinstance(reader.error, asyncio.CancelledError)
            assert not cancelled or reader.cancel_after is not None
            assert cancelled or any(reader.error is error for error in errors), "not as it is"
        for source in given_sources:
            mine = [item for item in got if item is not None and item[0] == source.number]
            if name == "parallel":
                mine = sorted(mine)[::2]
            assert is_subsequence(mine, source.items)
        if case.whole:
            _check_whole(case, reader, got, given_sources)
    for source in given_sources:
        if source.started:
            assert source.closed == 1, "closed exactly once"
            assert source.read_by == {source.closed_by}, "closed by the task that read it"
        else:
            assert source.closed == (0 if source.generator else 1)


def _left(reader):
    return reader.leave_after is not None and len(reader.got) >= reader.leave_after


def _check_whole(case, reader, got, given_sources):
    expected = [item for source in given_sources for item in source.items]
    if case.ordered:
        assert got == expected[: len(got)], "in order"
    if reader.whole:
        assert sorted(map(repr, got)) == sorted(map(repr, expected)), "complete"
    elif isinstance(reader.error, Boom) and not case.many:
        assert got == expected, "what came before the error is delivered"


def is_subsequence(items, whole):
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in items)


def arguments(sleeps):
    return st.tuples(
        st.lists(sources(sleeps=sleeps), min_size=1, max_size=3),
        st.lists(consumers(sleeps=sleeps), min_size=1, max_size=3),
    )


ARGUMENTS = {"asyncio": arguments(sleeps=True), "uvloop": arguments(sleeps=False)}


@each_case
@each_loop
@each_bound
@quick
@given(data=st.data())
def test_the_laws_hold(name, loop, maxsize, data):
    given_sources, readers = data.draw(ARGUMENTS[loop])
    holds(name, loop, maxsize, given_sources, readers)


@pytest.mark.full
@pytest.mark.timeout(600)
@each_case
@each_loop
@each_bound
@thorough
@given(data=st.data())
def test_the_laws_hold_thoroughly(name, loop, maxsize, data):
    given_sources, readers = data.draw(ARGUMENTS[loop])
    holds(name, loop, maxsize, given_sources, readers)


@each_loop
@each_case
def test_a_stream_that_was_never_started_closes_its_sources(name, loop):
    given_sources = [Source(["item"] * 3, generator=False, number=n) for n in range(2)]
    if not CASES[name].many:
        del given_sources[1:]

    async def program():
        for stream in CASES[name].make([source.stream() for source in given_sources], 4):
            await stream.aclose()
            await stream.aclose()
            assert [item async for item in stream] == []

    play(loop, program)
    assert [source.closed for source in given_sources] == [1] * len(given_sources)


@each_loop
@each_case
def test_a_source_that_was_started_elsewhere_is_closed_by_a_stream_never_started(name, loop):
    given_sources = [Source(["item"] * 3, number=n) for n in range(2)]
    if not CASES[name].many:
        del given_sources[1:]

    async def program():
        begun = [source.stream() for source in given_sources]
        for stream in begun:
            await anext(stream)
        for stream in CASES[name].make(begun, 4):
            await stream.aclose()

    play(loop, program)
    assert [source.closed for source in given_sources] == [1] * len(given_sources)


@each_loop
@each_bound
def test_sources_that_are_always_ready_share_fairly(loop, maxsize):
    async def ready(name):
        for _ in itertools.count():
            yield name

    async def program():
        async with streams.take(streams.merge(*map(ready, "abc"), maxsize=maxsize), 3000) as items:
            got = [item async for item in items]
        assert all(abs(got.count(name) - 1000) <= 3 * maxsize for name in "abc")

    play(loop, program)


TIMED = {
    name: case
    for name, case in CASES.items()
    if case.bound not in (None, none_ahead) and not name.startswith(("split3", "batched", "each"))
}


@each_loop
@pytest.mark.parametrize("name", TIMED)
def test_a_sources_own_timeout_is_raised_as_such(name, loop):
    """The source holds a timeout over its yields; with a slow consumer it cancels the pump."""
    seconds = 1 if loop == "asyncio" else 0.01

    async def impatient():
        async with asyncio.timeout(seconds):
            for n in range(1000):
                yield n

    async def read(stream):
        async with stream:
            async for _ in stream:
                await asyncio.sleep(seconds / 4)

    async def program():
        made = TIMED[name].make([impatient()], 1)
        ends = await asyncio.gather(*map(read, made), return_exceptions=True)
        assert [type(end) for end in ends] == [TimeoutError] * len(made)

    play(loop, program)


@each_loop
@each_case
def test_a_source_that_is_cancelled_from_within_ends_in_an_error(name, loop):
    async def cancelled():
        yield (0, 0)
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def program():
        made = CASES[name].make([cancelled()], 4)
        ends = await asyncio.gather(
            *(streams.gather_stream(stream) for stream in made), return_exceptions=True
        )
        pumped = CASES[name].bound is not none_ahead and name != "batched"
        wanted = streams.SourceCancelled if pumped else asyncio.CancelledError
        assert [type(end) for end in ends] == [wanted] * len(made)

    play(loop, program)
