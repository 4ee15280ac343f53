"""A restart without loss: workers behind the shipped nginx, under load, replaced in turn."""

import asyncio
import contextlib
import json
import signal
from collections import Counter

import httpx
import psutil
import pytest
from redis import Redis

from dual_mode_streaming.client import AsyncDualModeClient, Reconnect
from tests.stores.redis_server import RedisServer, free_port

pytestmark = pytest.mark.full

QUICK = {"DUAL_MODE_LLM_RATE": "200", "DUAL_MODE_LLM_FIRST": "0.05", "DUAL_MODE_LLM_JITTER": "0"}
CHAT = {"messages": "Tell me of rivers.", "seed": 7}


class Load:
    """Clients that ask again and again, until they are told to stop.

    Attributes:
        statuses: how often each kind of request got each status or error.
        posts: how many recordings were started.
    """

    def __init__(self, url):
        self.url = url
        self.statuses = Counter()
        self.posts = 0
        self.texts = set()
        self._over = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self):
        kinds = [self.gets] * 6 + [self.polls] * 2 + [self.posted] * 4 + [self.streams] * 4
        async with asyncio.TaskGroup() as clients, asyncio.timeout(240):
            for kind in kinds:
                clients.create_task(kind())
            await asyncio.sleep(1)
            try:
                yield
                await asyncio.sleep(1)
            finally:
                self._over.set()

    async def ask(self, kind, http, method, path, **options):
        try:
            answer = await http.request(method, path, **options)
            self.statuses[kind, answer.status_code] += 1
            return answer
        except httpx.HTTPError as error:
            self.statuses[kind, repr(error)] += 1
            return None

    async def gets(self):
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            while not self._over.is_set():
                await self.ask("get", http, "GET", "/data?count=3&interval=0.02")

    async def polls(self):
        while not self._over.is_set():
            async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
                await self.ask("fresh get", http, "GET", "/healthz")

    async def posted(self):
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            while not self._over.is_set():
                self.posts += 1
                answer = await self.ask(
                    "post", http, "POST", "/chat", json=CHAT, headers={"accept": "application/json"}
                )
                if answer is not None and answer.status_code == 202:
                    location = answer.headers["location"] + "?wait=20"
                    answer = await self.ask("document", http, "GET", location)
                if answer is not None and answer.status_code == 200:
                    self.texts.add(json.dumps(answer.json(), sort_keys=True))

    async def streams(self):
        reconnect = Reconnect(attempts=50, delay=0.02, max_wait=5)
        async with AsyncDualModeClient(self.url, reconnect=reconnect) as client:
            while not self._over.is_set():
                self.posts += 1
                try:
                    async with client.stream("/chat", method="POST", json=CHAT) as events:
                        kept = [event.data async for event in events]
                    self.statuses["stream", events.outcome] += 1
                    self.texts.add(len(kept))
                except Exception as error:
                    self.statuses["stream", repr(error)] += 1

    def check(self, redis):
        """All were answered, each POST was executed once, and all texts are the same whole one."""
        good = {200, 202, "done"}
        assert {key: n for key, n in self.statuses.items() if key[1] not in good} == {}
        assert min(Counter({kind: n for (kind, _), n in self.statuses.items()}).values()) > 5
        with contextlib.closing(Redis.from_url(redis.url)) as client:
            index = "dual-mode:{index}:"
            known = client.zcard(index + "running") + client.zcard(index + "ended")
        assert known == self.posts
        assert len(self.texts) == 2  # one document, and one number of events


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_two_workers_are_restarted_in_turn(start_service, nginx_before, redis):
    def start(port):
        flags = ("--port", str(port), "--store", redis.url, "--log-level", "warning")
        running = start_service(*flags, **QUICK)
        assert httpx.get(f"{running.url}/readyz", timeout=30).status_code == 200
        return running

    ports = [free_port(), free_port()]
    workers = [start(port) for port in ports]
    load = Load(nginx_before(*ports).url)
    async with load.running():
        for number in (0, 1, 0):
            assert await asyncio.to_thread(workers[number].stop) == 0
            workers[number] = await asyncio.to_thread(start, ports[number])
    load.check(redis)


async def test_a_supervisor_replaces_its_workers_on_sighup(start_service, nginx_before, redis):
    port = free_port()
    flags = ("--port", str(port), "--store", redis.url, "--workers", "2", "--log-level", "warning")
    running = start_service(*flags, **QUICK)
    assert httpx.get(f"{running.url}/readyz", timeout=30).status_code == 200
    supervisor = psutil.Process(running.process.pid)
    before = [child for child in supervisor.children() if "spawn_main" in str(child.cmdline())]
    load = Load(nginx_before(port, port).url)
    async with load.running():
        running.process.send_signal(signal.SIGHUP)
        _, alive = await asyncio.to_thread(psutil.wait_procs, before, 60)
        assert not alive
    load.check(redis)
    assert running.stop() == 0
