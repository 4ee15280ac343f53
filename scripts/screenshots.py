"""Draw the pictures of docs/: what runs, as Chromium shows it after some use."""

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent
TARGET, CHAT = ROOT / "docs" / "playground.png", ROOT / "docs" / "chat.png"
RELOAD = ROOT / "docs" / "reload.png"
QUESTION = "Once as one document, once as it comes: why do both have to be the same answer?"
COMMAND = [str(Path(sys.executable).with_name("dual-mode")), "serve", "--port", "0"]


def main() -> None:
    """Start a service, draw the page, stop the service."""
    chromium = shutil.which("chromium") or sys.exit("screenshots: there is no chromium")
    environment = os.environ | {"DUAL_MODE_LOG_LEVEL": "warning"}
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, env=environment) as service:
        try:
            url = service.stdout.readline().removeprefix("Serving on ").strip()
            draw(chromium, url)
        finally:
            service.terminate()
    chat(chromium)
    reload(chromium)
    for target in (TARGET, CHAT, RELOAD):
        print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


def draw(chromium: str, url: str) -> None:
    """Use the page: ask both ways, lose the connection once, watch a slow consumer, and wait until
    the charts have something to show."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 800}, color_scheme="light")
        page.set_default_timeout(60_000)
        page.goto(url)
        page.click("text=Watch")
        page.fill("#prompt", QUESTION)
        page.click("text=Ask both ways")
        expect(page.locator("#stream-text")).to_contain_text("both")
        page.click("text=Drop connection")
        page.click("text=Reconnect")
        for mode in ("batch", "stream"):
            expect(page.locator(f"#{mode}-state")).to_have_text("done", timeout=60_000)
        page.wait_for_function("() => +document.getElementById('feed-events').textContent >= 20")
        page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
        page.screenshot(path=TARGET, full_page=True)
        browser.close()


def chat(chromium: str) -> None:
    """Start a chat, ask it twice, and stop the second answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [str(ROOT / ".venv-ui" / "bin" / "dual-mode"), "ui", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health").close()
                    break
                except OSError:
                    time.sleep(0.1)
            draw_chat(chromium, url)
        finally:
            server.terminate()


def draw_chat(chromium: str, url: str) -> None:
    """Open the chat, wait for an answer, and stop another one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 640}, color_scheme="light")
        page.set_default_timeout(60_000)
        page.goto(url)
        field = page.get_by_test_id("stChatInputTextArea")
        stop = page.get_by_test_id("stChatInputStopButton")
        for question in ("Why do streams leak?", "And who closes them?"):
            expect(field).to_be_enabled(timeout=60_000)
            field.fill(question)
            field.press("Enter")
            expect(page.get_by_text(f"You said: {question}")).to_be_visible(timeout=60_000)
        page.wait_for_timeout(700)
        stop.click()
        expect(page.get_by_text("Stopped")).to_be_visible(timeout=20_000)
        expect(field).to_be_enabled(timeout=20_000)
        page.screenshot(path=CHAT)
        browser.close()


def reload(chromium: str) -> None:
    """Draw the page of example 13: asked, loaded again in mid-answer, and at its end."""
    subprocess.run([sys.executable, str(ROOT / "examples" / "run.py"), "13"], check=True)
    command = [sys.executable, "-m", "tests.browser.chat_worker", "memory", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        try:
            draw_reload(chromium, f"http://127.0.0.1:{worker.stdout.readline().strip()}")
        finally:
            worker.terminate()


def draw_reload(chromium: str, url: str) -> None:
    """Use the page, and draw its three states beside each other."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 250}, color_scheme="light")
        page.set_default_timeout(60_000)
        page.goto(f"{url}/#tea")
        page.fill("input", "How is tea made?")
        page.click("text=Send")
        shots = [state(page, 3, "It is boiled,", "1. The answer comes, word by word")]
        page.reload()
        shots.append(state(page, 1, "it", "2. The page is reloaded: it goes on"))
        shots.append(state(page, 4, "poured.", "3. It is there once, and whole"))
        page.set_viewport_size({"width": 1260, "height": 310})
        style = "body{display:flex;gap:15px;margin:15px;font:16px system-ui,sans-serif}"
        page.set_content(f"<style>{style} img{{border:1px solid #bbb}}</style>{''.join(shots)}")
        page.screenshot(path=RELOAD)
        browser.close()


def state(page: Page, words: int, last: str, caption: str) -> str:
    """Let the model say some words, and return the picture of the page with a caption."""
    url = page.url.partition("#")[0]
    urllib.request.urlopen(f"{url}allow?count={words}", data=b"").close()
    expect(page.locator(".assistant")).to_contain_text(last)
    picture = base64.b64encode(page.screenshot()).decode()
    image = f'<img src="data:image/png;base64,{picture}">'
    return f'<figure style="margin:0">{image}<figcaption>{caption}</figcaption></figure>'


if __name__ == "__main__":
    main()
