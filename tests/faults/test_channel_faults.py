"""Faults beside a channel with two writers and three readers: nothing is lost, doubled or altered.

`ChannelRun` compares; what a store has lost is told by `reset`, and its ids stand for nothing else.
"""

import asyncio
import contextlib
import random

import pytest

from dual_mode_streaming import Channel
from dual_mode_streaming.errors import StoreError
from tests.stores.redis_server import RedisServer, free_port
from tests.stores.replicated import Replicated, until

from .channels import ChannelRun
from .checks import WRONG
from .cluster import StoreCluster
from .random_faults import RandomFaults
from .workers import Line
from .writer import WriterProcess

BETWEEN = 15
"""The messages between two faults."""


class Faults(RandomFaults):
    """Also a loss in two steps, so that there are messages to be lost, and a reader has them."""

    run: ChannelRun

    async def mark(self):
        await asyncio.to_thread(self._stage.mark)

    async def lose_the_rest(self):
        await self.run.all_is_read()
        await asyncio.to_thread(self._stage.lose_the_rest)


async def ran(stage, *names):
    """Run a channel with these faults, one after another, each amid publishing and reading."""
    dice, steady, writer = random.Random(1), asyncio.Lock(), WriterProcess(stage.store)
    stage.losses.clear()
    await asyncio.to_thread(stage.all_up)
    async with Line(stage, mean=20_000) as line:
        await writer.start()
        try:
            count = BETWEEN * (len(names) + 1)
            faults = Faults(stage, line, writer, steady, dice)
            faults.run = ChannelRun(stage, line, writer, steady, dice, count)
            await faults.run.run(*(getattr(faults, name) for name in names))
        finally:
            await writer.close()
    found = faults.run
    assert not found.problems
    assert not any(found.counts[name] for name in (*WRONG, "altered")), found.counts
    if "mark" in names:
        assert found.counts["lost with the store"] > 0
        assert found.counts["told"] > 0
    else:
        assert len(found.readers[0].seen) == 2 * count
        assert not found.counts["told"]


@pytest.mark.timeout(240)
async def test_writers_readers_and_their_networks_fail_and_nothing_is_lost(stage):
    networks = ["drop", "partition"] if stage.proxies else []
    await ran(stage, "kill_writer", "reset", "kill", "suspend", *networks)


@pytest.mark.timeout(240)
async def test_a_redis_that_lost_its_tail_tells_the_readers_of_a_channel(on_redis):
    await ran(on_redis, "mark", "lose_the_rest", "kill_writer")


@pytest.mark.full
@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["leave", "slow", "restart"])
async def test_shutdowns_and_restarts_lose_nothing(stage, fault):
    await ran(stage, fault, "reset", fault)


@pytest.mark.full
@pytest.mark.timeout(400)
async def test_a_failover_to_a_replica_that_lags_tells_the_readers_of_a_channel(tmp_path):
    with contextlib.closing(Replicated(tmp_path)) as replicated:
        with contextlib.closing(StoreCluster(replicated=replicated)) as stage:
            await ran(stage, "mark", "lose_the_rest", "kill", "suspend")


async def test_a_channel_in_a_cluster_is_refused_in_one_line(tmp_path):
    """A program checks no server first; a node that has the slot of no channel says so."""
    flags = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server = RedisServer(tmp_path, *flags)
    server.start()
    try:
        server.ask("CLUSTER ADDSLOTS 1")
        until(lambda: "cluster_slots_assigned:1\r" in server.ask("CLUSTER INFO") + "\r")
        channel = Channel("refused/{id}", int, store=server.url)
        with pytest.raises(StoreError, match="is a Redis Cluster: use a Redis of its own"):
            await channel.read(id=1)
        await Channel.aclose()
    finally:
        server.kill()
