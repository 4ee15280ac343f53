"""Draw docs/playground.png: the page of the running service, as Chromium shows it after a run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

TARGET = Path(__file__).parent.parent / "docs" / "playground.png"
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
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")


def draw(chromium: str, url: str) -> None:
    """Open the page, wait until it has run both modes and has some seconds of charts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 760}, color_scheme="light")
        page.goto(url)
        expect(page.locator("#said")).to_have_text("done", timeout=20_000)
        page.wait_for_function("+document.getElementById('feed-events').textContent >= 20")
        TARGET.parent.mkdir(exist_ok=True)
        page.screenshot(path=TARGET, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
