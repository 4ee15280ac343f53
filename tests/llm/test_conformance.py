"""A third party's conformance tool against the service, in each wire format."""

import json
import os
import subprocess

import pytest

from tests.conftest import run_service
from tests.environments import environment

from .foreign.environments import HERE

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]  # the environment is to be made first


@pytest.fixture(scope="module")
def service():
    variables = {"DUAL_MODE_LLM_FIRST": "0", "DUAL_MODE_LLM_RATE": "0"}
    with run_service("--log-level", "error", **variables) as service:
        yield service


@pytest.mark.parametrize("wire", ["open-responses", "openai-chat", "anthropic"])
def test_nothing_fails_that_is_not_skipped(service, wire):
    home = environment("llm-comply", HERE / "llm-comply.txt")
    asked = ["--format", wire, "-u", f"{service.url}/v1", "-k", "any", "-m", "simulator", "--json"]
    answer = subprocess.run(
        [str(home / "bin" / "llm-comply"), *asked],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    results = json.loads(answer.stdout)
    tests = results["results"] if isinstance(results, dict) else results
    assert len(tests) > 5
    assert [t for t in tests if t.get("status") in ("failed", "error")] == [], answer.stdout
    assert answer.returncode == 0
