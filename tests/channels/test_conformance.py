"""Durable Streams' own clients: its conformance suite on each store, and its official client."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import environment, variables_of
from tests.helpers.service import run_service

NODE = Path(__file__).parent / "node"
PINS = [NODE / "package.json", NODE / "package-lock.json"]
SUITE = """
import { runConformanceTests } from "@durable-streams/server-conformance-tests"
runConformanceTests({ baseUrl: process.env.CHANNELS_URL })
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
