"""What docs/elsewhere.md has for Node and Next.js, run by node."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from dual_mode_streaming import EventDecoder
from tests.conftest import not_available
from tests.environments import environment
from tests.helpers.gated import MODULE

from .conftest import snippet

HERE = Path(__file__).parent
STREAM = {"accept": "text/event-stream"}

# A server of node's own around the handler, as Next makes one: Request in, Response out, and the
# signal when the client leaves.
SERVE = """
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { GET } from "./route.mjs";

const server = createServer(async (incoming, outgoing) => {
  const leaving = new AbortController();
  outgoing.on("close", () => leaving.abort());
  const request = new Request(`http://localhost${incoming.url}`, {
    headers: incoming.headers,
    signal: leaving.signal,
  });
  const response = await GET(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (!response.body) return outgoing.end();
  try {
    for await (const part of response.body) outgoing.write(part);
    outgoing.end();
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@pytest.fixture
def handler(tmp_path, upstream):
    """The address at which the route handler of the page answers."""
    if shutil.which("node") is None:
        not_available("node")
    (tmp_path / "route.mjs").write_text(snippet("app/answer/route.js", upstream.url))
    (tmp_path / "serve.mjs").write_text(SERVE)
    with subprocess.Popen(
        ["node", "serve.mjs"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/answer"
        finally:
            process.kill()


def events(response):
    decoder = EventDecoder()
    for chunk in response.iter_raw():
        yield from decoder.feed(chunk)


def frames_come_one_by_one(url, upstream):
    upstream.allow()
    with httpx.stream("GET", url, headers=STREAM, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-transform" in response.headers["cache-control"]
        assert "content-encoding" not in response.headers
        reader = events(response)
        for index in range(3):
            if index:
                upstream.allow()
            assert f"item {index}" in next(reader).data
        done = next(reader)
        assert done.event == "done"
        return done.id


def a_client_that_leaves_closes_the_generator(url, upstream):
    upstream.total = 10**9
    upstream.closed.clear()
    upstream.allow(10)
    with httpx.stream("GET", url, headers=STREAM, timeout=60) as response:
        next(events(response))
        assert not upstream.closed.is_set()
    assert upstream.closes()  # though nothing comes any more that would be written


def test_the_route_handler_hands_frames_on_one_by_one(handler, upstream):
    end = frames_come_one_by_one(handler, upstream)
    again = httpx.get(handler, headers={"last-event-id": end})
    assert (again.status_code, again.content) == (204, b"")  # an EventSource stops


def test_the_route_handler_closes_the_generator_of_who_has_left(handler, upstream):
    a_client_that_leaves_closes_the_generator(handler, upstream)


def node():
    home = environment("next", HERE / "next" / "package.json", HERE / "next" / "package-lock.json")
    installed(home)
    return home


def installed(home):
    """Put our package among the modules of `home`, as npm does with the tarball."""
    there = home / "node_modules" / "dual-mode-streaming"
    shutil.copytree(MODULE.parent, there, dirs_exist_ok=True)


def test_the_script_of_node(upstream, tmp_path):
    if shutil.which("node") is None:
        not_available("node")
    installed(tmp_path)
    program = tmp_path / "read.mjs"
    program.write_text(snippet("read.mjs", upstream.url))
    upstream.allow(3)
    done = subprocess.run(["node", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["item 0", "item 1", "item 2"], done.stderr

    upstream.failure = RuntimeError("on purpose")
    failed = subprocess.run(["node", program], capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert "The answer could not be completed." in failed.stderr


PAGE = """
import Answer from "./answer";

export default function Page() {
  return <Answer />;
}
"""
LAYOUT = """
export default function Layout({ children }) {
  return <html><body>{children}</body></html>;
}
"""


@pytest.fixture
def next_app(upstream):
    """The address of an app of Next.js, built, with the two snippets and no more than it needs."""
    home = node()
    shutil.rmtree(home / "app", ignore_errors=True)
    (home / "app" / "answer").mkdir(parents=True)
    (home / "app" / "page.jsx").write_text(PAGE)
    (home / "app" / "layout.jsx").write_text(LAYOUT)
    (home / "app" / "answer.jsx").write_text(snippet("app/answer.jsx"))
    route = snippet("app/answer/route.js", upstream.url)
    (home / "app" / "answer" / "route.js").write_text(route)
    quiet = os.environ | {"NEXT_TELEMETRY_DISABLED": "1"}
    command = [str(home / "node_modules" / ".bin" / "next")]
    built = subprocess.run(
        [*command, "build"], cwd=home, env=quiet, capture_output=True, text=True, timeout=300
    )
    assert built.returncode == 0, built.stdout + built.stderr
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with subprocess.Popen(
        [*command, "start", "--hostname", "127.0.0.1", "--port", port],
        cwd=home,
        env=quiet,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stdout:
                if re.search("ready", line, re.I):
                    break
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_app_of_next(next_app, upstream, page):
    frames_come_one_by_one(f"{next_app}/answer", upstream)
    page.goto(next_app)
    page.wait_for_function("document.body.innerText.includes('item 2')")
    page.wait_for_function("document.querySelector('i').textContent === 'done'")
    assert page.locator("p").all_text_contents() == ["item 0", "item 1", "item 2"]
    a_client_that_leaves_closes_the_generator(f"{next_app}/answer", upstream)


@pytest.fixture
def vite(upstream):
    """The address of Vite's development server, with the configuration of the page."""
    home = node()
    (home / "vite.config.js").write_text(snippet("vite.config.js", upstream.url))
    (home / "index.html").write_text(
        snippet("page.html").replace("/dual-mode.js", "dual-mode-streaming")
    )
    command = [home / "node_modules" / ".bin" / "vite", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        command, cwd=home, env=os.environ | {"NO_COLOR": "1"}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    break
            yield found[0]
        finally:
            process.terminate()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_development_server_of_vite(vite, upstream, page):
    frames_come_one_by_one(f"{vite}/data", upstream)
    upstream.begin()
    page.goto(vite)
    for count in range(1, 4):
        upstream.allow()
        page.wait_for_function("n => document.querySelectorAll('li').length === n", arg=count)
    page.wait_for_function("document.querySelector('#state').textContent === 'done'")
    a_client_that_leaves_closes_the_generator(f"{vite}/data", upstream)
