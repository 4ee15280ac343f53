"""The API page at `/docs`: without a network, it shows the frames of a stream as they come."""

import re

import httpx
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from dual_mode_streaming.server import app as service_app
from dual_mode_streaming.server.settings import Settings


def test_it_loads_nothing_from_elsewhere_and_shows_frames_as_they_come(page, service):
    elsewhere, forbidden = [], []
    page.on(
        "request",
        lambda request: (
            request.url.startswith((service, "data:", "blob:")) or elsewhere.append(request.url)
        ),
    )
    page.on(
        "console",
        lambda line: "Content Security" in line.text and forbidden.append(line.text),
    )
    page.goto(f"{service}/docs")
    page.locator("a,button").filter(has_text="The load of this host, live").first.click()
    page.locator("button").filter(has_text="(get /events)").first.click()
    page.locator("button:visible").filter(has_text="Send").first.click()
    # The feed has no end: what is shown has come before it.
    expect(page.locator("body")).to_contain_text(re.compile(r"id: \w+\.1.*id: \w+\.2", re.S))
    assert (elsewhere, forbidden) == ([], [])


def test_its_script_is_kept_by_the_browser(service):
    answer = httpx.get(f"{service}/docs/scalar.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "max-age" in answer.headers["cache-control"]
    assert len(answer.content) > 1_000_000


def test_without_the_extra_it_is_the_page_of_fastapi(monkeypatch):
    monkeypatch.setattr(service_app, "scalar_script", lambda: None)
    http = TestClient(service_app.create_app(Settings()))
    assert "swagger" in http.get("/docs").text
    assert http.get("/docs/scalar.js").status_code == 404
