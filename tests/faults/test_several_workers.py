"""The service with four workers on one store: one records, the others read, resume and cancel."""

import asyncio
import contextlib
import json
import os
import signal

import httpx
import psutil
import pytest

from dual_mode_streaming.testing import collect_events, read_events

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.full)])
def service(request, start_service, tmp_path):
    """Four workers on one store, with a slow model."""
    store = f"sqlite:{tmp_path / 'file'}"
    if request.param == "redis":
        store = request.getfixturevalue("kept_redis").url
    pace = {"RATE": "60", "FIRST": "0.05", "JITTER": "0"}
    variables = {f"DUAL_MODE_LLM_{name}": value for name, value in pace.items()}
    return start_service("--workers", "4", "--store", store, "--log-level", "error", **variables)


def worker_of(service, response):
    """Return the process at the other end of the response's connection."""
    host, port = response.extensions["network_stream"].get_extra_info("client_addr")[:2]
    for worker in psutil.Process(service.process.pid).children(recursive=True):
        for connection in worker.net_connections("tcp"):
            if connection.raddr and tuple(connection.raddr) == (host, port):
                return worker.pid
    raise AssertionError("no worker has the connection")


@contextlib.asynccontextmanager
async def a_client_each(service):
    """Yield one client for each worker, with one persistent connection.

    Workers that have a client are suspended while another connects, or they might accept it too.
    """
    found = {}
    async with contextlib.AsyncExitStack() as stack:
        while len(found) < 4:
            limits = httpx.Limits(max_connections=1)
            client = httpx.AsyncClient(base_url=service.url, limits=limits, timeout=2)
            with suspended(found), contextlib.suppress(httpx.TimeoutException):
                async with client.stream("GET", "/healthz") as response:
                    found[worker_of(service, response)] = client
                    await response.aread()
            client.timeout = 20
            stack.push_async_callback(client.aclose)
        yield list(found.values())


@contextlib.contextmanager
def suspended(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_what_one_worker_records_all_others_serve(service):
    question = {"messages": [{"role": "user", "content": "Tell me of rivers and of the sea."}]}
    async with a_client_each(service) as (one, two, three, four):
        async with one.stream("POST", "/chat", json=question, headers=EVENTS) as response:
            assert response.status_code == 200
            where = response.headers["location"]
            events = read_events(response)
            begun = [await anext(events) for _ in range(5)]
            joining = asyncio.create_task(whole(two, where))
            shown = {"last-event-id": begun[2].id}
            resuming = asyncio.create_task(whole(three, where, **shown))
            assert (await four.get(where)).status_code == 202
            all_of_it = begun + [event async for event in events]
        assert all_of_it[-1].event == "done"
        assert await joining == all_of_it
        assert await resuming == all_of_it[3:]
        documents = [await client.get(where) for client in (one, two, three, four)]
        assert {(answer.status_code, answer.text) for answer in documents} == {
            (200, documents[0].text)
        }

        async with one.stream("POST", "/chat", json=question, headers=EVENTS) as response:
            where = response.headers["location"]
            events = read_events(response)
            begun = [await anext(events) for _ in range(3)]
            joining = asyncio.create_task(whole(two, where))
            stopped = await three.post(f"{where}/cancel")
            assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")
            all_of_it = begun + [event async for event in events]
        assert all_of_it[-1].event == "cancelled"
        assert json.loads(all_of_it[-1].data)["items"] == len(all_of_it) - 1
        assert await joining == await whole(four, where) == all_of_it
        for client in (one, two, three, four):
            assert (await client.get(where)).status_code == 409
            end = await client.get(where, headers={**EVENTS, "last-event-id": all_of_it[-1].id})
            assert end.status_code == 204


async def whole(client, where, **headers):
    async with client.stream("GET", where, headers={**EVENTS, **headers}) as response:
        assert response.status_code == 200
        return await collect_events(response)
