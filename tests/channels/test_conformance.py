"""Durable Streams' own clients: its conformance suite on each store, and its official client."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.environments import document_of, environment, variables_of
from tests.helpers.service import run_service

NODE = Path(__file__).parent / "node"
PINS = [NODE / "package.json", NODE / "package-lock.json"]
SUITE = """
import { runConformanceTests } from "@durable-streams/server-conformance-tests"
runConformanceTests({ baseUrl: process.env.CHANNELS_URL })
"""
CLIENT = """
import { DurableStream, stream } from "@durable-streams/client"
const [recorded, channel] = process.argv.slice(2)
const read = {}
const made = await DurableStream.create({ url: channel, contentType: "application/json" })
for (const number of [0, 1, 2]) await made.append(JSON.stringify(number))
await made.close()
for (const [name, url] of [["recorded", recorded], ["channel", channel]])
  for (const live of [false, "long-poll", "sse"]) {
    const items = []
    const response = await stream({ url, offset: "-1", live })
    for await (const item of response.jsonStream()) items.push(item)
    read[`${name} ${live}`] = items
  }
console.log(JSON.stringify(read))
"""
CONFIG = "export default { test: { testTimeout: 60000, include: ['suite.test.mjs'] } }"

pytestmark = pytest.mark.full


@pytest.mark.timeout(600)
def test_the_conformance_suite_passes_but_for_forks(address):
    home = environment("durable-streams", *PINS)
    (home / "suite.test.mjs").write_text(SUITE)
    (home / "vitest.config.mjs").write_text(CONFIG)
    program = [sys.executable, "-m", "tests.channels.served", address]
    with run_service(program=program) as service:
        command = ["npx", "vitest", "run", "--reporter=json", "--outputFile=results.json"]
        variables = variables_of(home) | {"CHANNELS_URL": f"{service.url}/channels"}
        subprocess.run(command, cwd=home, env=variables, capture_output=True, timeout=500)
    results = json.loads((home / "results.json").read_text())["testResults"]
    found = {
        f"{' > '.join(each['ancestorTitles'])} > {each['title']}": each["status"]
        for file in results
        for each in file["assertionResults"]
        if not each["ancestorTitles"][0].startswith("Fork")
        and "subscription" not in each["ancestorTitles"][0]
    }
    assert [name for name, status in found.items() if status != "passed"] == []
    assert len(found) == 250


@pytest.mark.timeout(300)
def test_the_official_client_reads_channels_and_recordings():
    home = environment("durable-streams", *PINS)
    (home / "client.mjs").write_text(CLIENT)
    program = [sys.executable, "-m", "tests.channels.served", "memory"]
    with run_service(program=program) as service:
        place = httpx.get(f"{service.url}/recorded").headers["location"]
        urls = [f"{service.url}{path}" for path in (place, "/channels/a/b")]
        read = document_of(["node", home / "client.mjs", *urls], home)
    assert len(read) == 6
    assert [each for each in read.values() if each != [0, 1, 2]] == []
