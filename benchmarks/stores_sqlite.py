"""Measure the SQLite store: appending, beside aiosqlite, and replay.

    python benchmarks/stores_sqlite.py [--rounds 5] [--only sqlite] [--directory DIR] [--json FILE]

100 producers append events of 120 bytes, one at a time. The candidates take turns, on new files in
one directory. The table has the median of the rounds, and in brackets the lowest and the highest.
The flushes of the disk are measured too, because with synchronous=FULL everything depends on them.
The goal there is ten times aiosqlite with a transaction for each event ("alone").
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

Rates = dict[str, float]


def flushes(directory: Path) -> float:
    """Return how often a second a write of one page can be flushed to the disk."""
    with tempfile.TemporaryFile(dir=directory) as file:
        start = time.perf_counter()
        for _ in range(200):
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fdatasync(file.fileno())
        return 200 / (time.perf_counter() - start)


async def produced(append: Callable[[int, int], Awaitable[object]], each: int) -> float:
    """Return events a second, by all producers at once. `append` gets the producer and a number."""

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

    Alone: each event has its own transaction, which is necessary if something must be decided
    before it is written. Otherwise the producers share the open transaction of the connection: the
    first commit is one for all of them, and a rollback would be too.
    """
    connection = await aiosqlite.connect(path) if aiosqlite else SqliteInThread(path)
    for statement in (*SQLITE_PLAIN, f"pragma synchronous = {synchronous}"):
        await connection.execute(statement)
    lock = asyncio.Lock()

    async def append(producer: int, number: int) -> None:
        await connection.execute(SQLITE_INSERT, (producer, number, EVENT))
        await connection.commit()

    async def append_alone(producer: int, number: int) -> None:
        async with lock:
            await append(producer, number)

    rate = await produced(append_alone if is_alone else append, each)
    await connection.close()
    return rate


class SqliteInThread:
    """The three methods of aiosqlite by `asyncio.to_thread`, if it is not installed."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)

    async def execute(self, statement: str, values: tuple = ()) -> None:
        await asyncio.to_thread(self._connection.execute, statement, values)

    async def commit(self) -> None:
        await asyncio.to_thread(self._connection.commit)

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.close)


async def sqlite_replay(path: Path) -> Rates:
    """Append many events to one stream, a hundred at a time, and read it from the start."""
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


def sqlite_round(directory: Path) -> Rates:
    """Measure everything once."""
    rates: Rates = {"flushes of the disk": flushes(directory)}
    usual = "aiosqlite" if aiosqlite else "sqlite3 in a thread"
    for synchronous, few in (("FULL", 20), ("NORMAL", 50)):
        base = directory / synchronous
        ours = asyncio.run(sqlite_ours(base.with_suffix(".ours"), synchronous, 200))
        rates[f"{synchronous}: ours"] = ours
        for is_alone, how in ((True, "alone"), (False, "shared")):
            path = base.with_suffix(f".{how}")
            rate = asyncio.run(sqlite_usual(path, synchronous, few, is_alone))
            rates[f"{synchronous}: {usual}, {how}"] = rate
            rates[f"{synchronous}: ratio to {how}"] = ours / rate
    replay = asyncio.run(sqlite_replay(directory / "replay"))
    rates |= replay
    rates["replay to append, ratio"] = replay["replayed"] / next(iter(replay.values()))
    return rates


SECTIONS: dict[str, Callable[[Path], Rates]] = {"sqlite": sqlite_round}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=SECTIONS, help="measure one section")
    parser.add_argument("--directory", help="a directory on the disk to measure")
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
