"""Programs that the tests of the SQLite store run in other processes."""

import asyncio
import os
import resource
import sys

from dual_mode_streaming.stores import AppendResult, NewStream, SQLiteStore, StoreError


async def write(path, *streams):
    """Append entries one at a time, without end or up to 200, and print each that is stored."""
    count = 200 if streams[0] == "some" else 10**9
    async with asyncio.TaskGroup() as group:
        store = SQLiteStore(path)

        async def one(stream):
            await store.create(NewStream(stream=stream, operation="test"))
            for number in range(1, count + 1):
                result = await store.append(stream, 1, number, [b"%d" % number])
                assert result is AppendResult.OK
                os.write(1, b"%s %d\n" % (stream.encode(), number))

        for stream in streams[1:]:
            group.create_task(one(stream))
    await store.aclose()


async def fill(path, stream):
    """Append until the disk is full; make room, and repeat the append that failed."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = SQLiteStore(path)
    await store.create(NewStream(stream=stream, operation="test"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
    for number in range(1, 1000):
        try:
            await store.append(stream, 1, number, [bytes(10_000)])
        except StoreError as error:
            print(error)
            break
    else:
        raise AssertionError("there was room for all")
    assert [entry.sequence for entry in await store.read(stream, 0)] == [*range(1, number)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert await store.append(stream, 1, number, [bytes(10_000)]) is AppendResult.OK
    assert [entry.sequence for entry in await store.read(stream, 0)] == [*range(1, number + 1)]
    await store.aclose()


async def write_as_nobody(path, stream):
    """Append to a read-only file. Root may write any file, so it becomes another user first."""
    store = SQLiteStore(path)
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        await store.append(stream, 1, 1, [b"x"])
    except StoreError as error:
        print(error)
    await store.aclose()


if __name__ == "__main__":
    program = {program.__name__: program for program in (write, fill, write_as_nobody)}
    asyncio.run(program[sys.argv[1]](*sys.argv[2:]))
