"""How does a web page show a stream that outlives its connection?

Seen: the page is plain HTML with one module, `dual-mode.js`. Its connection was cut after two
items. `follow` continued at the Location of the recorded stream: the POST was made once, and each
item is shown once. Here Node ran the script of the page, and made the cut.

Try next: see it in a browser: `.venv/bin/uvicorn --app-dir examples 15_page_that_follows:app`.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.testing import serving

STATIC = str(files("dual_mode_streaming") / "static")
SCRIPT = """import { follow } from "/static/dual-mode.js";
for await (const { data } of follow("/tea", { method: "POST" })) show(JSON.parse(data));"""
PAGE = f"""<!doctype html><title>Tea</title><pre id="steps"></pre><script type="module">
const show = (text) => document.getElementById("steps").append(`${{text}}\\n`);
{SCRIPT}</script>"""
CUT = r"""const show = (text) => console.log(`    it shows: ${text}`), real = fetch;
globalThis.fetch = async (request) => {
  const cursor = request.headers.get("last-event-id")?.split(".")[2] ?? "none";
  console.log(`The page sends: ${request.method}, after event ${cursor}`);
  const answer = await real(request);
  return new Response(answer.body.pipeThrough(new TransformStream({ transform(part, given) {
    const text = new TextDecoder().decode(part), second = text.indexOf(".1.2\n");
    given.enqueue(second < 0 ? part : part.slice(0, text.indexOf("\n\n", second) + 2));
    if (second >= 0) given.terminate(); } })), answer);
};"""
app = FastAPI()
install(app)
app.mount("/static", StaticFiles(directory=STATIC))
app.get("/")(lambda: HTMLResponse(PAGE))


@app.post("/tea")
@dual_mode(record=True)
async def tea() -> AsyncIterator[str]:
    for step in ("Water is boiled.", "Leaves are added.", "It steeps.", "It is poured."):
        yield step


async def main() -> None:
    async with serving(app) as url:
        script = SCRIPT.replace("/static", f"file://{STATIC}").replace("/tea", f"{url}/tea")
        command = ["node", "--input-type=module", "-e", CUT + script]
        node = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        print((await node.communicate())[0].decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
