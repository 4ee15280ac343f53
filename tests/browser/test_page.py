"""The page at `/`, used as a visitor uses it."""

import re
import shlex
import subprocess

import pytest
from playwright.sync_api import expect


@pytest.fixture
def playground(page, service):
    page.goto(service)
    return page


def milliseconds(page, name: str) -> float:
    return float(page.locator(f"#{name}").inner_text().removesuffix(" ms"))


def test_both_modes_run_side_by_side(playground):
    page = playground
    page.fill("#count", "5")
    page.fill("#interval", "0.2")
    page.click("text=Run both")
    expect(page.locator("#said")).to_have_text("done")
    expect(page.locator("#batch-items")).to_have_text("5")
    expect(page.locator("#stream-items")).to_have_text("5")
    expect(page.locator("#frames tr")).to_have_count(6)  # and `done`
    assert milliseconds(page, "stream-first-ms") < milliseconds(page, "batch-first-ms")
    for name in ("batch-first", "batch-total", "stream-first", "stream-total"):
        assert page.locator(f"#{name}").bounding_box()["width"] > 0


def test_disconnect_stops_both(playground):
    page = playground
    page.fill("#count", "1000")
    page.fill("#interval", "0.1")
    page.click("text=Run both")
    expect(page.locator("#frames tr").nth(1)).to_be_visible()
    page.click("text=Disconnect")
    expect(page.locator("#said")).to_have_text("disconnected")


def test_what_is_copied_as_curl_runs(playground):
    page = playground
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#count", "2")
    page.fill("#interval", "0")
    page.click("text=Copy as curl")
    expect(page.locator("#said")).to_have_text("copied")
    command = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert "event: done" in answer.stdout


def test_the_live_charts_draw_and_can_be_paused(playground):
    page = playground
    expect(page.locator("polyline").first).to_have_attribute("points", re.compile(r"\S+ \S+"))
    page.click("text=Pause")
    expect(page.locator("#feed-state")).to_have_text("paused")
    page.click("text=Resume")
    expect(page.locator("#feed-state")).to_have_text("open")


def test_a_refused_question_is_told(playground):
    page = playground
    page.evaluate("document.getElementById('ask').noValidate = true")
    page.fill("#count", "-1")
    page.click("text=Run both")
    expect(page.locator("#said")).to_contain_text("failed")


def test_the_keyboard_alone_is_enough(playground):
    page = playground
    expect(page.locator("#said")).to_have_text("done")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("0")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Run both"
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("done")
    expect(page.locator("#frames tr")).to_have_count(11)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(browser, service, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(service)
    expect(page.locator("#frames tr").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground[4:-1].split(",")) / 3
    assert (brightness > 128) is (scheme == "light")
    context.close()
