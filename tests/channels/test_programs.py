"""Programs without an app or an event loop, and several processes on one store."""

import subprocess
import sys
import textwrap
import threading

import pytest

from dual_mode_streaming import Channel

HEAD = """
import asyncio, os, sys
from dual_mode_streaming import Channel
counts = Channel("programs/counts", int, store=sys.argv[1])
"""

SYNC = """
first = counts.sync.publish(1, key="first")
assert counts.sync.publish(1, key="first") == first
counts.sync.publish_many([2, 3])
assert [each.item for each in counts.sync.read(after=first)] == [2, 3]
following = counts.sync.subscribe(after=first)
assert [next(following), next(following)] == [2, 3]
following.close()
counts.sync.close()
assert list(counts.sync.subscribe()) == [1, 2, 3]
print("ok")
"""

FORK = """
counts.sync.publish(1)
child = os.fork()
if not child:
    counts.sync.publish(2)
    os._exit(0)
os.waitpid(child, 0)
assert [each.item for each in counts.sync.read()] == [1, 2]
print("ok")
"""

ASYNC = """
async def main():
    await counts.publish(1)
    await Channel.aclose()
for _ in range(2):
    asyncio.run(main())
assert [each.item for each in counts.sync.read()] == [1, 1]
print("ok")
"""

FOLLOWS = """
print("begun", flush=True)
for number in counts.sync.subscribe():
    print(number, flush=True)
"""


@pytest.fixture(params=["sqlite", "redis"])
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def _closed():
    yield
    Channel("programs/any", int).sync.aclose()


def program(text, *arguments):
    return [sys.executable, "-W", "error", "-c", textwrap.dedent(HEAD + text), *arguments]


def ran(text, address):
    done = subprocess.run(program(text, address), capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr) == ("ok\n", "")


@pytest.mark.parametrize("text", [SYNC, FORK, ASYNC], ids=["sync", "fork", "async"])
def test_a_script_needs_no_app_and_no_event_loop(text, address):
    ran(text, address)


def test_a_script_may_use_a_store_in_memory():
    ran(SYNC, "memory")


def test_another_process_sees_messages_as_they_are_published(address):
    with subprocess.Popen(program(FOLLOWS, address), stdout=subprocess.PIPE, text=True) as follower:
        channel = Channel("programs/counts", int, store=address)
        assert follower.stdout.readline() == "begun\n"
        for number in range(5):
            channel.sync.publish(number)
            assert follower.stdout.readline() == f"{number}\n"
        channel.sync.close()
        assert follower.wait(60) == 0


def test_threads_share_the_channel():
    channel = Channel("programs/threads", int, store="memory")
    threads = [threading.Thread(target=channel.sync.publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.item for each in channel.sync.read()) == list(range(8))


async def test_the_event_loop_is_not_blocked():
    channel = Channel("programs/loop", int, store="memory")
    with pytest.raises(RuntimeError, match="await the channel's methods"):
        channel.sync.publish(1)
