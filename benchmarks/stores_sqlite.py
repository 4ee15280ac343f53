"""What the durable stores cost: appending beside the way that is usual, and replay.

    python benchmarks/stores_sqlite.py [--rounds 5] [--only sqlite] [--directory DIR] [--json FILE]

100 producers append one event of 120 bytes each at a time. The contenders take turns, on new files
in one directory; the table gives the median of the rounds, and in brackets the lowest and highest.
The rate of a disk's flushes is printed with it, since under synchronous=FULL all depends on it. The
goal there is ten times aiosqlite with a transaction for each event ("alone").
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from dual_mode_streaming.stores import NewStream, SQLiteStore

try:
    import aiosqlite
except ImportError:
    aiosqlite = None

PRODUCERS = 100
EVENT = b"x" * 120
REPLAYED = 100_000

Figures = dict[str, float]


def flushes(directory: Path) -> float:
    """How often a second a write of one page reaches the disk."""
    with tempfile.TemporaryFile(dir=directory) as file:
        start = time.perf_counter()
        for _ in range(200):
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fdatasync(file.fileno())
        return 200 / (time.perf_counter() - start)


async def produced(append: Callable[[int, int], Awaitable[object]], each: int) -> float:
    """Events a second, by all producers at once; the n-th of a producer is appended as (it, n)."""

    async def produce(producer: int) -> None:
        for number in range(1, each + 1):
            await append(producer, number)

    start = time.perf_counter()
    await asyncio.gather(*map(produce, range(PRODUCERS)))
    return PRODUCERS * each / (time.perf_counter() - start)


async def sqlite_ours(path: Path, synchronous: str, each: int) -> float:
    store = SQLiteStore(path, synchronous=synchronous)
    streams = [secrets.token_hex(16) for _ in range(PRODUCERS)]
    for stream in streams:
        await store.create(NewStream(stream=stream, operation="bench"))
    rate = await produced(
        lambda producer, number: store.append(streams[producer], 1, number, (EVENT,)), each
    )
    await store.aclose()
    return rate


SQLITE_PLAIN = (
    "pragma journal_mode = wal",
    "create table entries (stream, seq, payload, primary key (stream, seq)) without rowid",
)
SQLITE_INSERT = "insert into entries values (?, ?, ?)"


async def sqlite_usual(path: Path, synchronous: str, each: int, is_alone: bool) -> float:
    """One connection of aiosqlite, and a commit for each event: no lease, no fence, no bounds.

    Alone: each event has a transaction of its own, as it needs if anything is to be decided before
    it is written. Otherwise the producers share the connection's open transaction: whoever commits
    first does it for all, and a rollback would be one for all too.
    """
    connection = await aiosqlite.connect(path) if aiosqlite else SqliteInThread(path)
    for statement in (*SQLITE_PLAIN, f"pragma synchronous = {synchronous}"):
        await connection.execute(statement)
    turn = asyncio.Lock()

    async def append(producer: int, number: int) -> None:
        await connection.execute(SQLITE_INSERT, (producer, number, EVENT))
        await connection.commit()

    async def append_alone(producer: int, number: int) -> None:
        async with turn:
            await append(producer, number)

    rate = await produced(append_alone if is_alone else append, each)
    await connection.close()
    return rate


class SqliteInThread:
    """A stand-in where aiosqlite is not installed: its three methods by `asyncio.to_thread`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)

    async def execute(self, statement: str, values: tuple = ()) -> None:
        await asyncio.to_thread(self._connection.execute, statement, values)

    async def commit(self) -> None:
        await asyncio.to_thread(self._connection.commit)

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.close)


async def sqlite_replay(path: Path) -> Figures:
    """One stream of many events: appended a hundred at a time, and read again from its start."""
    store = SQLiteStore(path)
    stream = await store.create(NewStream(stream=secrets.token_hex(16), operation="bench"))
    start = time.perf_counter()
    for first in range(1, REPLAYED + 1, 100):
        await store.append(stream, 1, first, (EVENT,) * 100)
    appended = time.perf_counter()
    last = 0
    while entries := await store.read(stream, last):
        last = entries[-1].sequence
    read = time.perf_counter()
    await store.aclose()
    if last != REPLAYED:
        raise SystemExit(f"{last} of {REPLAYED} events were read")
    return {
        "appended, a hundred at a time": REPLAYED / (appended - start),
        "replayed": REPLAYED / (read - appended),
    }


def sqlite_round(directory: Path) -> Figures:
    """All figures once."""
    figures: Figures = {"flushes of the disk": flushes(directory)}
    usual = "aiosqlite" if aiosqlite else "sqlite3 in a thread"
    for synchronous, few in (("FULL", 20), ("NORMAL", 50)):
        place = directory / synchronous
        ours = asyncio.run(sqlite_ours(place.with_suffix(".ours"), synchronous, 200))
        figures[f"{synchronous}: ours"] = ours
        for is_alone, how in ((True, "alone"), (False, "shared")):
            path = place.with_suffix(f".{how}")
            rate = asyncio.run(sqlite_usual(path, synchronous, few, is_alone))
            figures[f"{synchronous}: {usual}, {how}"] = rate
            figures[f"{synchronous}: ratio to {how}"] = ours / rate
    replay = asyncio.run(sqlite_replay(directory / "replay"))
    figures |= replay
    figures["replay to append, ratio"] = replay["replayed"] / next(iter(replay.values()))
    return figures


SECTIONS: dict[str, Callable[[Path], Figures]] = {"sqlite": sqlite_round}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--directory", help="on the disk that is meant")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; events a second")
    measured: dict[str, dict[str, list[float]]] = {}
    for section, run in SECTIONS.items():
        if options.only in (None, section):
            rounds = []
            for _ in range(options.rounds):
                with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                    rounds.append(run(Path(directory)))
            measured[section] = {name: [each[name] for each in rounds] for name in rounds[0]}
            print(f"\n{section}")
            for name, values in measured[section].items():
                low, middle, high = min(values), statistics.median(values), max(values)
                digits = 1 if "ratio" in name else 0
                span = f"[{low:,.{digits}f} .. {high:,.{digits}f}]"
                print(f"  {name:<44}{middle:>10,.{digits}f}  {span}")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
