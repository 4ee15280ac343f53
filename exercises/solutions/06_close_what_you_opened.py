"""Exercise 6: close what you opened.

`names` opens a connection, reads its rows, and yields the name of each. It must close what it has
opened, in reverse order: first the rows, then the connection. This must happen on every exit:

- when all rows have been read,
- when the caller stops early,
- when reading fails,
- when it is cancelled while it waits.

Read first: examples/05_disconnect.py
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing


class Connection:
    """A connection to a database of three rows. It logs what is opened and closed."""

    def __init__(self, log: list[str], fails_at: str = "", waits_at: str = "") -> None:
        self.log, self.fails_at, self.waits_at = log, fails_at, waits_at

    async def open(self) -> None:
        self.log.append("connection opened")

    async def rows(self) -> AsyncGenerator[dict[str, str], None]:
        try:
            for name in ("Ada", "Grace", "Joan"):
                if name == self.fails_at:
                    raise OSError("the database is gone")
                if name == self.waits_at:
                    await asyncio.sleep(3600)
                yield {"name": name}
        finally:
            self.log.append("rows closed")

    async def close(self) -> None:
        await asyncio.sleep(0.1)
        self.log.append("connection closed")


async def names(connection: Connection) -> AsyncGenerator[str, None]:
    await connection.open()
    try:
        async with aclosing(connection.rows()) as rows:
            async for row in rows:
                yield row["name"]
    finally:
        await connection.close()
