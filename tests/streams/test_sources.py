"""Sources and sinks: iterables, queues, callbacks, and gathering."""

import asyncio
import threading

import pytest

from dual_mode_streaming.streams import (
    END,
    Overflow,
    SourceCancelled,
    StreamOverflow,
    dequeue,
    endless_stream,
    enqueue,
    from_callback,
    gather_stream,
    gather_text,
    stream_content,
    take,
)

from .scripts import Boom, play


def times_of(stream):
    """Return the times of the items and of the end, on a virtual clock."""

    async def program():
        clock = asyncio.get_running_loop().time
        start = clock()
        seen = [(item, round(clock() - start, 6)) async for item in stream]
        return seen, round(clock() - start, 6)

    return play("asyncio", program)


@pytest.mark.parametrize(
    ("options", "items", "end"),
    [
        ({}, [0, 0, 0], 0),
        ({"with_delay_sec": 2}, [0, 2, 4], 6),
        ({"with_delay_sec": 2, "delay_first": True}, [2, 4, 6], 8),
        ({"with_delay_sec": 2, "delay_end": False}, [0, 2, 4], 4),
        ({"with_delay_sec": 2, "delay_first": True, "delay_end": False}, [2, 4, 6], 6),
    ],
)
def test_the_delays_of_stream_content(options, items, end):
    seen, ended = times_of(stream_content(content="abc", **options))
    assert seen == list(zip("abc", items, strict=True))
    assert ended == end


def test_nothing_is_pulled_from_the_content_before_it_is_needed():
    pulled = []

    def content():
        try:
            for n in range(10):
                pulled.append(n)
                yield n
        finally:
            pulled.append("closed")

    async def program():
        stream = stream_content(content())
        assert pulled == []
        assert await anext(stream) == 0
        assert pulled == [0]
        await stream.aclose()
        assert pulled == [0, "closed"]

    play("asyncio", program)


def test_an_endless_stream_sleeps_until_it_is_cancelled():
    async def program():
        reader = asyncio.create_task(gather_stream(endless_stream()))
        await asyncio.sleep(1_000)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        # Nothing polled: a timer would have stopped the clock earlier.
        assert asyncio.get_running_loop().time() == 1_000

    play("asyncio", program)


def test_a_queue_passes_on_all_items_even_none_and_items_that_equal_the_end_marker():
    async def program():
        class Equal:
            def __eq__(self, other):
                return True

            __hash__ = None

        queue = asyncio.Queue(2)
        items = [None, 0, Equal(), "END", StopAsyncIteration()]
        writer = asyncio.create_task(enqueue(stream_content(items), queue))
        assert await gather_stream(dequeue(queue)) == items
        await writer
        await queue.join()

    play("asyncio", program)


def test_an_error_goes_through_a_queue_as_it_is():
    boom = Boom()

    async def failing():
        yield 1
        raise boom

    async def program():
        queue = asyncio.Queue()
        await enqueue(failing(), queue)
        stream = dequeue(queue)
        assert await anext(stream) == 1
        with pytest.raises(Boom) as raised:
            await anext(stream)
        assert raised.value is boom

    play("asyncio", program)


def test_a_cancelled_enqueue_on_a_full_queue_ends_and_the_reader_gets_an_error():
    async def program():
        queue = asyncio.Queue(1)
        writer = asyncio.create_task(enqueue(stream_content(range(10)), queue))
        await asyncio.sleep(1)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        with pytest.raises(SourceCancelled):
            await gather_stream(dequeue(queue))

    play("asyncio", program)


def test_none_as_the_end_is_the_convention_of_genai_processors():
    async def program():
        queue = asyncio.Queue()
        await enqueue(stream_content("ab"), queue, end=None)
        assert [queue.get_nowait() for _ in range(3)] == ["a", "b", None]

        queue.put_nowait("a")
        queue.put_nowait(None)
        assert await gather_stream(dequeue(queue, end=None)) == ["a"]

        with pytest.raises(ValueError, match="an item is the queue's end marker, None"):
            await enqueue(stream_content(["a", None, "b"]), queue, end=None)
        with pytest.raises(ValueError, match="end marker"):
            await gather_stream(dequeue(queue, end=None))
        assert repr(END) == "END"

    play("asyncio", program)


async def test_callbacks_from_any_thread_become_a_stream():
    threads = []

    def register(emit):
        def run():
            for n in range(100):
                emit(n)
            emit.close()
            emit("too late")

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return threads[0].join

    assert await gather_stream(from_callback(register, maxsize=100)) == list(range(100))
    assert not threads[0].is_alive()


async def test_a_thread_that_is_faster_than_the_loop_fills_only_the_bounded_buffer():
    def register(emit):
        for n in range(100_000):
            emit(n)
        emit.close()

    stream = from_callback(
        lambda emit: run_in_thread(register, emit), overflow=Overflow.DROP_OLDEST
    )
    loop = asyncio.get_running_loop()
    async with stream:
        await anext(stream)  # the thread has run to its end by now
        assert len(loop._ready) < 10
        assert [item async for item in stream][-1] == 99_999
    assert stream.dropped >= 100_000 - 65


def run_in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def test_callbacks_that_are_too_fast_fail_or_drop_by_policy():
    async def program():
        def register(emit):
            for n in range(5):
                emit(n)
            emit.close()

        stream = from_callback(register, maxsize=3)
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(StreamOverflow):
            await anext(stream)

        newest = from_callback(register, maxsize=2, overflow=Overflow.DROP_OLDEST)
        assert await gather_stream(newest) == [3, 4]
        assert newest.dropped == 3

        with pytest.raises(ValueError, match="cannot wait"):
            from_callback(register, overflow=Overflow.BLOCK)

    play("asyncio", program)


def test_a_callback_can_fail_and_is_unregistered_when_the_reader_leaves():
    events = []

    async def program():
        emitters = []

        def register(emit):
            emitters.append(emit)
            return lambda: events.append("unregistered")

        async with from_callback(register) as stream:
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            emitters[0]("a")
            assert await first == "a"
        assert events == ["unregistered"]
        emitters[0]("too late")

        boom = Boom()
        stream = from_callback(lambda emit: emit.fail(boom))
        with pytest.raises(Boom) as raised:
            await gather_stream(stream)
        assert raised.value is boom

    play("asyncio", program)


def test_gathering_the_text_of_a_stream():
    class Part:
        def __init__(self, text):
            self.text = text

    async def program():
        parts = ["a", Part("b"), Part(None), 3, "c"]
        assert await gather_text(stream_content(parts)) == "abc"
        assert await gather_text(stream_content([1, 2]), str) == "12"
        assert await gather_stream(take(stream_content("abc"), 2)) == ["a", "b"]
        assert await gather_stream(take(stream_content("abc"), 0)) == []

    play("asyncio", program)


def test_gathering_closes_a_stream_that_is_not_a_generator():
    class Feed:
        closed = 0

        def __aiter__(self):
            return self

        async def __anext__(self):
            raise Boom

        async def aclose(self):
            self.closed += 1

    async def program():
        feed = Feed()
        with pytest.raises(Boom):
            await gather_stream(feed)
        assert feed.closed == 1

    play("asyncio", program)
