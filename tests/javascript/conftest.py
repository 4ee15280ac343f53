"""Node, in which `dual-mode.js` follows the streams of a scripted server or of our own."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest_asyncio

from tests.client.conftest import running, server
from tests.conftest import ROOT, not_available

__all__ = ["running", "server"]

HERE = Path(__file__).parent
STATIC = ROOT / "src" / "dual_mode_streaming" / "static"


class Node:
    """A process of node, which follows one stream after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def follow(self, url: str, **options: Any) -> Any:
        """Follow a stream; return its items and how it ended. For the options see `worker.mjs`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"url": url, **options}).encode() + b"\n")
        line = await asyncio.wait_for(stdout.readline(), 60)
        result = SimpleNamespace(**{"error": None, "stopped": None, **json.loads(line)})
        result.data = [data for _, data, _ in result.items]
        return result


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def node() -> AsyncIterator[Node]:
    if (program := shutil.which("node")) is None:
        not_available("node")
    process = await asyncio.create_subprocess_exec(
        program,
        HERE / "worker.mjs",
        STATIC / "dual-mode.js",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    yield Node(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0
