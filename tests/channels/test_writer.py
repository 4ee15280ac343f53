"""The one writer of a channel, such as a job: its watchers are told of the end, whatever it is."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import textwrap
from contextlib import aclosing

import httpx
import pytest
from fastapi import FastAPI

from dual_mode_streaming import Channel, Problem, dual_mode, install
from dual_mode_streaming.channels import ChannelClosed
from dual_mode_streaming.errors import StoreError
from dual_mode_streaming.stores import AppendResult, Limits, RedisStore, SQLiteStore
from dual_mode_streaming.testing import StreamingTransport, collect_events

names = itertools.count()

JOB = """
import sys, time
from dual_mode_streaming import Channel
from dual_mode_streaming.stores import Limits, RedisStore, SQLiteStore
kind, address, number = sys.argv[1:]
store = {"sqlite": SQLiteStore, "redis": RedisStore}[kind](address, Limits(lease=1))
jobs = Channel("killed/{ticket}", int, store=store)
with jobs.sync.writer(ticket=number) as job:
    for n in range(3):
        job.write(n)
    print(job.written, flush=True)
    time.sleep(600)
"""


@pytest.fixture
async def jobs(store):
    yield Channel(f"writer-{next(names)}/{{ticket}}", int, store=store)
    await Channel.aclose()


async def all_of(subscription):
    """The messages of a subscription until its end, and the problem that is its end."""
    seen = []
    try:
        async with asyncio.timeout(60), aclosing(subscription):
            async for item in subscription:
                seen.append(item)
    except Problem as problem:
        return seen, problem
    return seen, None


async def failing(writer, error):
    """Write a message and fail. Returns the cursor of the message."""
    cursor = ""
    try:
        async with writer as job:
            cursor = await job.write(1)
            raise error
    except type(error):
        return cursor


async def test_a_writer_writes_and_its_end_is_that_of_the_channel(jobs):
    watching = asyncio.create_task(all_of(jobs.subscribe(ticket="a")))  # before there is a job
    async with jobs.writer(ticket="a") as job:
        assert (job.written, job.cursor) == (0, "")
        await job.write(1)
        cursor = await job.write(2, 3)
        assert (job.written, job.cursor) == (3, cursor)
        assert [each.item for each in await jobs.read(ticket="a")] == [1, 2, 3]
        with pytest.raises(ValueError, match="valid integer"):
            await job.write("x")
    assert await watching == ([1, 2, 3], None)
    assert await all_of(jobs.subscribe(ticket="a", after=cursor)) == ([], None)
    with pytest.raises(ChannelClosed):
        async with jobs.writer(ticket="a"):
            raise AssertionError("a job that ended well is not done again")


@pytest.mark.parametrize(
    ("error", "status", "members"),
    [
        (Problem(418, "too many rows"), 418, {}),
        (Problem(418, "\ud800"), 500, {}),
        (Problem(418, "no JSON", row=object()), 500, {}),
        (ValueError("a secret"), 500, {}),
        (SystemExit(1), 409, {"outcome": "interrupted"}),
        (asyncio.CancelledError(), 409, {"outcome": "interrupted"}),
    ],
    ids=["problem", "surrogate", "object", "exception", "exit", "cancelled"],
)
async def test_a_job_that_fails_ends_with_its_failure(jobs, error, status, members):
    await failing(jobs.writer(ticket="f"), error)
    seen, problem = await all_of(jobs.subscribe(ticket="f"))
    assert (seen, problem.status_code, problem.members) == ([1], status, members)
    assert "secret" not in problem.detail


async def test_what_was_interrupted_begins_anew_and_says_so(jobs):
    old = await failing(jobs.writer(ticket="i"), SystemExit())
    async with jobs.writer(ticket="i") as job:
        await job.write(5)
    late = jobs.subscribe(ticket="i", after=old)
    assert await all_of(late) == ([5], None)
    assert late.gap["reason"] == "rewritten"


async def test_a_cancelled_job_stops_at_its_next_write(jobs):
    async def work():
        async with jobs.writer(ticket="c") as job:
            await job.write(1)
            await jobs.cancel(ticket="c")
            for number in itertools.count(2):
                await job.write(number)

    with pytest.raises(ChannelClosed, match="cancelled"):
        await work()
    _, problem = await all_of(jobs.subscribe(ticket="c"))
    assert problem.members == {"outcome": "cancelled"}


async def test_a_channel_has_one_writer_or_many(jobs):
    await jobs.publish(1, ticket="many")
    with pytest.raises(Problem, match="published to"):
        async with jobs.writer(ticket="many"):
            raise AssertionError
    async with jobs.writer(ticket="one"):
        for done in (jobs.publish(1, ticket="one"), jobs.close(ticket="one")):
            with pytest.raises(ChannelClosed, match="has one writer"):
                await done
    with pytest.raises(RuntimeError, match="async with"):
        await jobs.writer(ticket="none").write(1)


async def test_a_writer_that_is_alive_is_not_replaced(tmp_path):
    path = tmp_path / "jobs.db"
    mine, other = SQLiteStore(path, Limits(lease=60)), SQLiteStore(path, Limits(lease=0.2))
    jobs = Channel("alive/{ticket}", int, store=mine)
    again = Channel("alive/{ticket}", int, store=other)
    async with jobs.writer(ticket="a") as job:
        with pytest.raises(Problem, match="alive"):
            async with again.writer(ticket="a"):
                raise AssertionError
        await job.write(1)
    await Channel.aclose()


@pytest.fixture(params=["sqlite", "redis"])
def shared(request, tmp_path):
    """The kind of a store of several processes, its address, and what opens it."""
    if request.param == "sqlite":
        path = str(tmp_path / "jobs.db")
        return "sqlite", path, lambda: SQLiteStore(path, Limits(lease=1))
    url = request.getfixturevalue("redis_server").url
    return "redis", url, lambda: RedisStore(url, Limits(lease=1))


def killed_job(kind, address, ticket):
    """Run a job until it has written three messages, and kill it."""
    arguments = [sys.executable, "-c", textwrap.dedent(JOB), kind, address, ticket]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout.readline() == "3\n"
        job.kill()


async def test_a_job_that_is_killed_is_told_as_interrupted(shared):
    kind, address, opened = shared
    ticket = f"{next(names)}-told"
    app = FastAPI()
    install(app, store=opened(), signals=False)
    jobs = Channel("killed/{ticket}", int)

    @app.get("/jobs/{ticket}")
    @dual_mode
    def watched(ticket: str):
        return jobs.subscribe(ticket=ticket)

    async with app.router.lifespan_context(app):
        transport = StreamingTransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            headers = {"accept": "text/event-stream"}
            async with http.stream("GET", f"/jobs/{ticket}", headers=headers) as response:
                await asyncio.to_thread(killed_job, kind, address, ticket)
                async with asyncio.timeout(60):
                    *messages, end = await collect_events(response, 9)
            assert [json.loads(event.data) for event in messages] == [0, 1, 2]
            assert end.event == "interrupted"
            resumed = {**headers, "last-event-id": end.id}
            assert (await http.get(f"/jobs/{ticket}", headers=resumed)).status_code == 204
            batch = await http.get(f"/jobs/{ticket}")
            assert (batch.status_code, batch.json()["outcome"]) == (409, "interrupted")


async def test_a_job_that_is_started_again_continues(shared):
    kind, address, opened = shared
    ticket = f"{next(names)}-again"
    await asyncio.to_thread(killed_job, kind, address, ticket)
    jobs = Channel("killed/{ticket}", int, store=opened())
    async with asyncio.timeout(60), jobs.writer(ticket=ticket) as job:
        [*_, last] = await jobs.read(ticket=ticket)
        assert (job.written, job.cursor) == (3, last.cursor)
        for number in range(job.written, 5):
            await job.write(number)
    assert await all_of(jobs.subscribe(ticket=ticket)) == ([0, 1, 2, 3, 4], None)
    await Channel.aclose()


async def cancelled_write(job, store, *items, is_taken):
    """Cancel a write that the store has taken, or has not, and does not answer."""
    asked, append = asyncio.Event(), store.append

    async def silent(*arguments, **options):
        if is_taken:
            await append(*arguments, **options)
        asked.set()
        await asyncio.Event().wait()

    store.append = silent
    writing = asyncio.create_task(job.write(*items))
    await asked.wait()
    store.append = append
    writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "not-taken"])
async def test_what_follows_a_cancelled_write_is_not_taken_for_its_repetition(
    jobs, store, is_taken
):
    async with jobs.writer(ticket="w") as job:
        first = await job.write(1)
        await cancelled_write(job, store, 2, 3, is_taken=is_taken)
        assert (job.written, job.cursor) == (1, first)  # what is acknowledged
        await cancelled_write(job, store, 4, is_taken=is_taken)
        last = await job.write(5)
        assert (job.written, job.cursor) == (5, last)
        kept = await jobs.read(ticket="w")
        assert [each.item for each in kept] == [1, 2, 3, 4, 5]
        assert kept[-1].cursor == last
    assert await all_of(jobs.subscribe(ticket="w")) == ([1, 2, 3, 4, 5], None)


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "not-taken"])
@pytest.mark.parametrize(
    ("error", "end"),
    [(None, None), (Problem(418, "full"), 418), (asyncio.CancelledError(), 409)],
    ids=["done", "problem", "cancelled"],
)
async def test_the_end_after_a_cancelled_write_is_told(jobs, store, error, end, is_taken):
    with contextlib.suppress(Problem, asyncio.CancelledError):
        async with jobs.writer(ticket="e") as job:
            await job.write(1)
            await cancelled_write(job, store, 2, is_taken=is_taken)
            if error is not None:
                raise error
    seen, problem = await all_of(jobs.subscribe(ticket="e"))
    assert (seen, problem and problem.status_code) == ([1, 2], end)


REFUSALS = {AppendResult.FENCED: ChannelClosed, AppendResult.GAP: StoreError}


@pytest.mark.parametrize("result", REFUSALS, ids=lambda result: result.name)
async def test_the_end_that_is_refused_is_an_error_of_the_block(jobs, store, result):
    append = store.append

    async def refusing(*_, **__):
        return result

    async def ends_well(job):
        store.append = refusing

    async def is_told_before(job):
        store.append = refusing
        with pytest.raises(REFUSALS[result]):
            await job.write(1)
        store.append = append

    async def fails(job):
        store.append = refusing
        raise ZeroDivisionError

    async def work(do):
        try:
            async with jobs.writer(ticket=do.__name__) as job:
                await do(job)
        finally:
            store.append = append

    for do in (ends_well, is_told_before):
        with pytest.raises(REFUSALS[result]):
            await work(do)
    with pytest.raises(ZeroDivisionError):
        await work(fails)


async def test_the_end_of_a_channel_that_was_deleted_is_an_error_of_the_block(jobs):
    async def work():
        async with jobs.writer(ticket="deleted") as job:
            await job.write(1)
            await jobs.delete(ticket="deleted")

    with pytest.raises(ChannelClosed):
        await work()


INTERRUPTED = """
import asyncio, signal, sys, threading
from dual_mode_streaming import Channel
from dual_mode_streaming.stores import SQLiteStore
store = SQLiteStore(sys.argv[1])
jobs = Channel("ctrl-c", int, store=store)
append = store.append
async def silent(*arguments, **options):
    await append(*arguments, **options)
    store.append = append
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    await asyncio.Event().wait()
try:
    with jobs.sync.writer() as job:
        job.write(1)
        store.append = silent
        try:
            job.write(2)
        except KeyboardInterrupt:
            job.write(3)
            raise
except KeyboardInterrupt:
    print([each.item for each in jobs.sync.read()])
    try:
        print(list(jobs.sync.subscribe()))
    except Exception as error:
        print(error.detail)
"""


def test_ctrl_c_amid_a_write_without_an_event_loop(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(tmp_path / "jobs.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "[1, 2, 3]\nthe writer of the channel was interrupted\n", done.stderr
