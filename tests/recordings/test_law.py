"""The law of recordings: wherever a reader is cut off, what it reads over all its connections is
one stream, and folds to the batch body; for any items, on every store."""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.testing import collect_events
from tests.web.test_modes_of_one_generator import json_values

from .stage import EVENTS, events_of, on_every_store, running


@on_every_store
@given(items=st.lists(json_values, max_size=8), data=st.data())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_cut_anywhere_it_is_one_stream(stores, items, data):
    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    app = FastAPI()
    install(app, store=stores.open())
    app.get("/")(dual_mode(record=True)(source))
    async with running(app) as http:
        batch = await http.get("/")
        location = batch.headers["location"]
        whole = await events_of(http, location)
        assert {"data": [json.loads(event.data) for event in whole[:-1]]} == batch.json()
        assert (whole[-1].event, json.loads(whole[-1].data)) == ("done", {"items": len(items)})
        assert (await http.get(location)).content == batch.content
        seen, shown = [], {}
        # A new stream, live, over several connections; it has other ids.
        url = "/"
        while not seen or seen[-1].event != "done":
            upto = data.draw(st.integers(1, len(whole)), label="read before the cut")
            async with http.stream("GET", url, headers={**EVENTS, **shown}) as response:
                url = response.headers["location"]
                seen += await collect_events(response, limit=upto)
            shown = {"last-event-id": seen[-1].id}
        assert [(event.event, event.data) for event in seen] == [
            (event.event, event.data) for event in whole
        ]
        assert await events_of(http, url) == seen
        assert (await http.get(url, headers={**EVENTS, **shown})).status_code == 204
