"""What a Redis must be for a store, what its user must be allowed, and resets of connections."""

import asyncio
import re
import secrets
import subprocess
import sys

import pytest

from dual_mode_streaming.stores import RedisStore, StoreError

from .redis_server import RedisServer, free_port
from .test_redis import PREFIX, store_of

RIGHTS = f"~{PREFIX}:* &{PREFIX}:* +@all -@admin -@dangerous +info"


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (RIGHTS, ""),
        (RIGHTS.replace(f"&{PREFIX}:*", "resetchannels"), "channel"),
        (RIGHTS.replace(f"~{PREFIX}:*", "~other:*"), "key"),
        (f"{RIGHTS} -evalsha", "evalsha"),
        (f"{RIGHTS} -script|load", "script|load"),
        (f"{RIGHTS} -xadd", "run this command"),
        (f"{RIGHTS} -zadd", "run this command"),
        (f"{RIGHTS} -publish", "run this command"),
        (f"{RIGHTS} -time", "run this command"),
        (f"{RIGHTS} -info", "info"),
        (f"{RIGHTS} -subscribe", "subscribe"),
    ],
)
async def test_a_right_that_a_user_lacks_is_named_at_once(redis_server, rights, missing, caplog):
    name = f"u{secrets.token_hex(4)}"
    assert redis_server.ask(f"ACL SETUSER {name} on >secret {rights}") == "+OK"
    redis_server.ask("SCRIPT FLUSH")
    url = redis_server.url.replace("://", f"://{name}:secret@")
    store = RedisStore(url, prefix=PREFIX)
    try:
        if not missing:
            return await store.check()
        with pytest.raises(StoreError, match=re.escape(missing)) as refused:
            await store.check()
        assert "+@all -@admin -@dangerous" in str(refused.value)
        assert "secret" not in str(refused.value)
        assert len(caplog.records) <= 1
    finally:
        await store.aclose()
        redis_server.ask(f"ACL DELUSER {name}")


async def test_a_wrong_password_is_told_and_not_repeated(redis_server):
    store = RedisStore(redis_server.url.replace("://", "://nobody:hidden@"), prefix=PREFIX)
    with pytest.raises(StoreError, match="password") as refused:
        await store.check()
    assert "hidden" not in str(refused.value)
    await store.aclose()


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--cluster-enabled", "yes", "--cluster-port", str(free_port())), "is a Redis Cluster"),
        (("--replicaof", "127.0.0.1 1"), "is a replica"),
    ],
)
async def test_a_server_of_another_kind_is_refused(tmp_path, flags, what):
    server = RedisServer(tmp_path, *flags)
    server.start()
    try:
        async with store_of(server) as store:
            with pytest.raises(StoreError, match=what):
                await store.check()
    finally:
        server.kill()


async def test_a_refused_subscription_is_logged_once_and_tried_with_longer_pauses(
    redis_server, caplog
):
    assert redis_server.ask(f"ACL SETUSER mute on nopass {RIGHTS} resetchannels") == "+OK"
    url = redis_server.url.replace("://", "://mute:x@")
    store = RedisStore(url, prefix=PREFIX)
    for _ in range(3):
        with pytest.raises(StoreError, match="channel"):
            async with store.subscribe(secrets.token_hex(16), lambda: None):
                pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    redis_server.ask(f"ACL SETUSER mute &{PREFIX}:*")
    async with asyncio.timeout(60), store.subscribe(secrets.token_hex(16), lambda: None):
        pass
    await store.aclose()


RESETS = """
import asyncio, socket, struct, sys
import uvloop
from dual_mode_streaming.stores import NewStream, RedisStore, StoreError

async def carry(there, to):
    try:
        while data := await there.read(65536):
            to.write(data)
    except OSError:
        pass
    to.close()

async def main(port):
    opened = []

    async def connected(reader, writer):
        opened.append(writer)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, back), carry(there, writer))

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    store = RedisStore(f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", prefix="resets")
    stream, told = "0123456789abcdef" * 2, 0
    await store.create(NewStream(stream=stream, operation=""))
    async with store.subscribe(stream, lambda: None):
        for number in range(300):
            for writer in opened:
                sock = writer.get_extra_info("socket")
                if number % 3 == 0 and sock is not None and sock.fileno() >= 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
            opened[:] = [writer for writer in opened if not writer.transport.is_closing()]
            try:
                await asyncio.gather(*(store.append(stream, 1, 1, ()) for _ in range(5)))
            except StoreError:
                told += 1
    await store.delete(stream)
    await store.aclose()
    proxy.close()
    print("done", told)

uvloop.run(main(int(sys.argv[1])))
"""


async def test_a_reset_connection_under_uvloop_is_a_store_error_or_made_anew(redis_server):
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RESETS, str(redis_server.port),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said, complaints = await asyncio.wait_for(running.communicate(), 60)
    assert said.startswith(b"done"), complaints.decode()
    assert b"RuntimeError" not in complaints
