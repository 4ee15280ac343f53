"""The OpenAPI document of recorded endpoints: it is valid, and the answers conform to it."""

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV32SpecValidator, validate

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.testing import read_events
from tests.web.test_openapi import numbers, schema_validator

from .stage import EVENTS, Stage, events_of


def responses_of(stage, path, method):
    return stage.app.openapi()["paths"][path][method]["responses"]


def test_the_document_is_valid_and_says_what_is_special():
    document = Stage().app.openapi()
    validate(document, cls=OpenAPIV32SpecValidator)
    for path, method in (("/count", "get"), ("/sum", "post")):
        operation = document["paths"][path][method]
        statuses = {"200", "202", "204", "400", "406", "409", "410", "413", "422", "503", "504"}
        assert set(operation["responses"]) == statuses
        headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
        assert headers == {"Prefer", "Idempotency-Key", "Last-Event-ID"}
        for status in ("200", "202"):
            assert "Location" in operation["responses"][status]["headers"]
        for status in ("409", "422"):
            assert "application/problem+json" in operation["responses"][status]["content"]
    assert {"/streams/{stream}", "/streams/{stream}/cancel"} <= set(document["paths"])


def test_without_a_recorded_endpoint_there_is_nothing_of_them():
    app = FastAPI()
    install(app)
    app.post("/")(dual_mode(numbers))
    document = app.openapi()
    assert set(document["paths"]) == {"/"}
    assert "202" not in document["paths"]["/"]["post"]["responses"]


@pytest.mark.parametrize("end", ["done", "error", "cancelled", "reset"])
async def test_every_event_is_what_the_document_says(http, stage, end):
    document = stage.app.openapi()
    content = responses_of(stage, "/count", "get")["200"]["content"]["text/event-stream"]
    validator = schema_validator(document, content["itemSchema"])
    if end == "cancelled":
        stage.gate.clear()
        async with http.stream("GET", "/count?gate_at=1", headers=EVENTS) as response:
            events = read_events(response)
            seen = [await anext(events)]
            await http.post(f"{response.headers['location']}/cancel")
            seen += [event async for event in events]
    else:
        shown = {"last-event-id": "not.ours"} if end == "reset" else {}
        seen = await events_of(http, f"/count?fail_at={2 if end == 'error' else -1}", **shown)
    assert end in [event.event for event in seen]
    for event in seen:
        fields = {"id": event.id, "event": event.event, "data": event.data}
        validator.validate({key: value for key, value in fields.items() if value is not None})


async def test_the_state_is_what_the_document_says(http, stage):
    accepted = await http.post("/sum", json=[1], headers={"prefer": "respond-async"})
    document = stage.app.openapi()
    schema = responses_of(stage, "/sum", "post")["202"]["content"]["application/json"]["schema"]
    schema_validator(document, schema).validate(accepted.json())
