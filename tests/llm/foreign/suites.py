"""The SDKs' own test files, and what they leave out because they were written for a mock server."""

import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.environments import environment, variables_of

HERE = Path(__file__).parent
FILES = {
    "openai": ["chat", "responses", "test_responses.py", "test_models.py"],
    "anthropic": [
        *("messages", "test_messages.py", "test_models.py"),
        *("beta/messages", "beta/test_messages.py", "beta/test_models.py"),
    ],
}
"""Of `tests/api_resources`; the other files are about resources that the service does not have."""

NO_RESPONSE = re.compile(r"resp_677efb5139a88190b512bc3fef8e535d|resp_123|\b\w*response_id\b")
"""The ids of responses in the test files, for which their mock makes an answer up."""
NOT_SUPPORTED = {
    "/v1/chat/completions": [
        *("audio", "function_call", "functions", "logit_bias", "logprobs"),
        *("max_completion_tokens", "max_tokens"),  # which are 0
        *("moderation", "top_logprobs", "web_search_options"),
    ],
    "/v1/responses": ["conversation", "moderation", "prompt", "top_logprobs"],
    "/v1/responses/input_tokens": ["conversation"],
    "/v1/messages": [
        *("billing_policy", "compaction", "container", "inference_geo", "mcp_servers", "thread"),
    ],
    "/v1/messages/count_tokens": ["billing_policy", "mcp_servers", "thread"],
}
"""Fields that the service refuses by their names; a call with all fields has them, too."""


def run_suite(sdk: str, base_url: str) -> dict[str, str]:
    """Run the files of an SDK, and return the failures by the names of the tests.

    The key "passed" has the number of the others.
    """
    home = environment("sdk-suites", HERE / "sdk-suites.txt")
    version = re.search(rf"^{sdk}==(\S+)", (HERE / "sdk-suites.txt").read_text(), re.MULTILINE)[1]
    source = home / f"{sdk}-{version}"
    if not source.is_dir():
        _unpack(sdk, version, home)
    report = home / f"{sdk}.xml"
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_asyncio"]
    plugins += ["-p", "tests._alias_httpx"] if (source / "tests/_alias_httpx.py").exists() else []
    files = [f"tests/api_resources/{name}" for name in FILES[sdk]]
    pytest = [str(home / "bin/python"), "-m", "pytest", "-q", "-o", "addopts=", *plugins]
    done = subprocess.run(
        [*pytest, f"--junitxml={report}", *files],
        cwd=source,
        env=variables_of(home) | {"TEST_API_BASE_URL": base_url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return _results(report)


def _unpack(sdk: str, version: str, home: Path) -> None:
    """Get the source package, and unpack it."""
    import sys

    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(home),
    ]
    subprocess.run([*download, "--no-binary", sdk, f"{sdk}=={version}"], check=True)
    with tarfile.open(home / f"{sdk}-{version}.tar.gz") as archive:
        archive.extractall(home, filter="data")


def _results(report: Path) -> dict[str, str]:
    failures, passed = {}, 0
    for case in ElementTree.parse(report).iter("testcase"):
        failed = case.find("failure")
        if failed is None:
            failed = case.find("error")
        if failed is None:
            passed += case.find("skipped") is None
        else:
            name = f"{case.get('classname')}.{case.get('name')}"
            failures[name.removeprefix("tests.api_resources.")] = str(failed.get("message"))
    return failures | {"passed": str(passed)}


class Completed:
    """An ASGI app that completes the requests of the test files, as a mock server takes them.

    It gives a model and an input to those that have none, and the id of a response that is there to
    those that name one; and it leaves out the fields of `NOT_SUPPORTED`.

    Args:
        app: the service.
        make_response: returns the id of a new response.
    """

    def __init__(self, app: Any, make_response: Any) -> None:
        self.app = app
        self.make_response = make_response

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if found := NO_RESPONSE.search(path):
            path = path.replace(found[0], await self.make_response())
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] == "POST" and body:
            body = await self.completed(path, json.loads(body))
        headers = [(n, v) for n, v in scope["headers"] if n != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            return given.pop() if given else await receive()

        scope = {**scope, "path": path, "raw_path": path.encode(), "headers": headers}
        await self.app(scope, replay, send)

    async def completed(self, path: str, given: Any) -> bytes:
        for name in NOT_SUPPORTED.get(path, ()):
            given.pop(name, None)
        if not given.get("stream"):
            given.pop("stream_options", None)  # which goes with a stream only
        if path in ("/v1/responses", "/v1/responses/input_tokens"):
            given = {"model": "simulator", "input": "Say hello."} | given
            if given.get("previous_response_id"):
                given["previous_response_id"] = await self.make_response()
        return json.dumps(given).encode()
