"""The dashboard asks for metrics and labels that the service has."""

import json
import re

import httpx

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from dual_mode_streaming.testing import StreamingTransport
from tests.house.repository import ROOT

LABELS_OF_PROMETHEUS = {"job", "le"}


async def test_every_query_is_of_a_metric_and_labels_that_there_are():
    board = json.loads((ROOT / "deploy/grafana.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    transport = StreamingTransport(create_app(Settings(llm={"first": 0, "rate": 0}, streams=1)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await http.post("/chat?stream=true", json={"messages": "Hello"})
        async with http.stream("GET", "/data?count=2&interval=60&stream=true") as one:
            async for _ in one.aiter_raw():
                assert (await http.get("/data")).status_code == 503
                break
        told = (await http.get("/metrics")).text
    samples = dict(re.findall(r"^(dual_mode_\w+)\{(.*)\} ", told, re.MULTILINE))
    assert len(queries) > 15
    for query in queries:
        (name,) = re.findall(r"dual_mode_\w+", query)
        assert name in samples, f"{query}: there is no such metric"
        labels = set(re.findall(r"(\w+)=", samples[name]))
        asked = set(re.findall(r"(\w+)=~?\"", query))
        asked.update(*(by.split(", ") for by in re.findall(r"by \((.*?)\)", query)))
        assert asked <= labels | LABELS_OF_PROMETHEUS, query
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
