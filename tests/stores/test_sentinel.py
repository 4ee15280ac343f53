"""A Redis behind Sentinel: a failover to a replica that lags behind; TLS; Valkey."""

import asyncio
import contextlib
import secrets
import shutil
import subprocess

import pytest

from dual_mode_streaming.limits import RedisLimits
from dual_mode_streaming.stores import AppendResult, Limits, NewStream, StoreError, open_store
from tests.conftest import not_available

from .redis_server import RedisServer, free_port
from .replicated import Replicated, until

pytestmark = pytest.mark.full


@pytest.fixture
def replicated(tmp_path):
    if shutil.which("redis-server") is None:
        not_available("redis-server")
    stage = Replicated(tmp_path)
    yield stage
    stage.close()


async def repeated(call):
    """Repeat a call while the store fails."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except StoreError:
                await asyncio.sleep(0.1)


async def test_a_failover_to_a_replica_that_lags_behind(replicated):
    store = open_store(replicated.url, Limits(lease=1))
    await store.check()
    stream = await store.create(NewStream(stream=secrets.token_hex(16), operation=""))
    assert await store.append(stream, 1, 1, [b"1", b"2"]) is AppendResult.OK
    master, replica = replicated.master, replicated.replica
    until(lambda: offset(master, "master_repl") == offset(replica, "slave_repl"))
    replicated.let_the_replica_lag()
    assert await store.append(stream, 1, 3, [b"lost 3", b"lost 4"]) is AppendResult.OK
    changed = asyncio.Event()
    async with store.subscribe(stream, changed.set):
        replicated.fail()
        gap = await repeated(lambda: store.append(stream, 1, 5, [b"5"]))
        assert gap is AppendResult.GAP
        generation = None
        while generation is None:
            generation = await repeated(lambda: store.take_over(stream))
            await asyncio.sleep(0.1)
        changed.clear()
        call = store.append(stream, generation, 3, [b"new 3", b"new 4"])
        assert await call is AppendResult.OK
        await asyncio.wait_for(changed.wait(), 60)
    info = await store.info(stream)
    assert info.has(1, 2)
    assert not info.has(1, 3)
    assert [entry.payload for entry in await store.read(stream, 2)] == [b"new 3", b"new 4"]
    await store.aclose()


def offset(server, name):
    for line in server.ask("INFO replication").splitlines():
        if line.startswith(f"{name}_offset:"):
            return int(line.partition(":")[2])
    return None


async def test_limits_follow_the_master_too(replicated):
    limits = RedisLimits(replicated.url)
    assert await limits.acquire("one", {"all": 1}) is None
    assert await limits.acquire("two", {"all": 1}) == "all"
    assert await limits.hit("key", 1) is None
    assert await limits.hit("key", 1) > 0
    await limits.aclose()


async def opened_and_checked(address):
    async with contextlib.aclosing(open_store(address)) as store:
        await store.check()


@pytest.mark.parametrize(
    ("path", "reason"), [("", "URL"), ("/other", "other"), ("/main/zero", "URL")]
)
async def test_a_wrong_service_is_told(replicated, path, reason):
    address = f"redis+sentinel://127.0.0.1:{replicated.port}{path}"
    with pytest.raises((ValueError, StoreError), match=reason):
        await opened_and_checked(address)


async def test_a_sentinel_is_no_redis(replicated):
    store = open_store(f"redis://127.0.0.1:{replicated.port}")
    with pytest.raises(StoreError, match=r"redis\+sentinel://"):
        await store.check()
    await store.aclose()


async def test_a_redis_with_tls(tmp_path):
    openssl = shutil.which("openssl") or not_available("openssl", ci_has_it=False)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    port = free_port()
    flags = ["--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key]
    server = RedisServer(tmp_path, *map(str, flags), "--tls-auth-clients", "no")
    server.start()
    try:
        address = f"rediss://127.0.0.1:{port}/0"
        store = open_store(f"{address}?ssl_ca_certs={certificate}")
        await store.check()
        await store.aclose()
        store = open_store(address)
        with pytest.raises(StoreError, match="certificate"):
            await store.check()
        await store.aclose()
    finally:
        server.kill()


async def test_valkey(tmp_path):
    program = shutil.which("valkey-server") or not_available("valkey-server", ci_has_it=False)
    server = RedisServer(tmp_path, program=program)
    server.start()
    try:
        store = open_store(server.url, Limits(lease=0.2))
        await store.check()
        stream = await store.create(NewStream(stream=secrets.token_hex(16), operation=""))
        await store.append(stream, 1, 1, [b"1"])
        await asyncio.sleep(0.3)
        assert stream in await store.abandoned()
        assert await store.take_over(stream) > 1
        await store.aclose()
    finally:
        server.kill()
