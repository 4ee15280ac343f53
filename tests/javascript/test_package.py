"""The npm package of dual-mode.js: `make npm` builds it, TypeScript and Node take it."""

import json
import subprocess
import tomllib

import pytest

from tests.conftest import ROOT
from tests.elsewhere.test_javascript import node

from .conftest import STATIC

USE = """
import { follow, stop, StreamError } from "dual-mode-streaming";
import type { StreamEvent, Stream, Wait } from "dual-mode-streaming";

const items: Stream = follow("/chat", {
  body: { messages: "Hello" },
  headers: async ({ denied }: { denied: boolean }) => ({ Authorization: denied ? "new" : "old" }),
  credentials: "include",
  signal: new AbortController().signal,
  onReset: ({ reason, earliest }) => console.log(reason, earliest),
  onWait: (wait: Wait) => wait.now(),
  onOpen: (response) => response.status,
});
for await (const event of items) {
  const { event: name, data, id }: StreamEvent = event;
  console.log(name.length, data.length, id.length);
}
const end: string | null = items.end;
if (items.location !== null) console.log((await stop(items.location)).state, end);
for await (const { data } of follow((kept) => `${kept ?? "/x"}?token=1`)) data.toUpperCase();
try {
  follow(new URL("http://localhost"), { method: "POST", body: "text" });
} catch (error) {
  if (error instanceof StreamError) console.log(error.status, error.problem?.detail, error.event);
}
// @ts-expect-error: there is no such option
follow("/chat", { onRest: () => {} });
"""


def test_it_has_the_version_of_the_python_package():
    version = json.loads((STATIC / "package.json").read_text("utf-8"))["version"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert version == project["version"]


@pytest.mark.full
def test_it_is_built_with_its_types_and_nothing_else():
    subprocess.run(["make", "--silent", "npm"], cwd=ROOT, check=True, capture_output=True)
    (tarball,) = (ROOT / "dist").glob("dual-mode-streaming-*.tgz")
    command = ["tar", "-tf", tarball]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    wanted = ("dual-mode.js", "dual-mode.d.ts", "package.json")
    assert sorted(names) == sorted(f"package/{name}" for name in wanted)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_typescript_reads_its_types():
    home = node()
    (home / "use.mts").write_text(USE)
    options = ["--noEmit", "--strict", "--target", "es2024", "--module", "nodenext"]
    command = [home / "node_modules" / ".bin" / "tsc", *options, "--lib", "es2024,dom", "use.mts"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
