"""What the tests of the SQLite store run in other processes: `python -m … NAME PATH …`."""

import asyncio
import os
import resource
import sys

from dual_mode_streaming.stores import AppendResult, NewStream, SQLiteStore, StoreError


async def write(path, *streams):
    """Append to streams, one entry at a time, for ever or up to 200; say each that is kept."""
    count = 200 if streams[0] == "some" else 10**9
    async with asyncio.TaskGroup() as group:
        store = SQLiteStore(path)

        async def one(stream):
            await store.create(NewStream(stream=stream, operation="test"))
            for number in range(1, count + 1):
                verdict = await store.append(stream, 1, number, [b"%d" % number])
                assert verdict is AppendResult.OK
                os.write(1, b"%s %d\n" % (stream.encode(), number))

        for stream in streams[1:]:
            group.create_task(one(stream))
    await store.aclose()


async def fill(path, stream):
    """Append while there is room; when there is more of it, the same append is made again."""
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
    """Append to a file that may not be written; root may write all, and becomes somebody else."""
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
