"""The two pages of docs/elsewhere.md in a real browser, served from the origin of what they ask."""

import pytest
from playwright.sync_api import expect

from dual_mode_streaming import BrokenTransfer

from .conftest import snippet


def show(page, url, title, path="/page"):
    """Open the page as if the service at `url` had it."""
    page.route(
        f"**{path}", lambda route: route.fulfill(body=snippet(title), content_type="text/html")
    )
    page.goto(f"{url}{path}")


def test_the_event_source_shows_items_as_they_come_and_closes_at_done(page, upstream):
    asked = []
    page.on("request", lambda request: "/data" in request.url and asked.append(request.url))
    show(page, upstream.url, "page.html")
    for count in range(1, 4):
        upstream.allow()
        expect(page.locator("li")).to_have_count(count)
        expect(page.locator("li").last).to_have_text(f"item {count - 1}")
    expect(page.locator("#state")).to_have_text("done")
    assert (
        page.evaluate("source.readyState") == 2
    )  # before any reconnect: it was closed by the page
    assert len(asked) == 1


def test_its_failure_is_told_from_a_lost_connection(page, upstream):
    upstream.failure = RuntimeError("a secret")
    show(page, upstream.url, "page.html")
    upstream.allow()
    expect(page.locator("#state")).to_have_text("The answer could not be completed.")
    assert page.evaluate("source.readyState") == 2


def test_a_lost_connection_is_told_and_not_closed(page, upstream):
    upstream.failure = BrokenTransfer("on purpose")
    show(page, upstream.url, "page.html")
    upstream.allow()
    expect(page.locator("li")).to_have_count(1)
    expect(page.locator("#state")).to_have_text("lost; reconnecting")
    assert page.evaluate("source.readyState") == 0  # the browser reconnects after 3 s


def test_a_refusal_is_told(page, upstream):
    page.route("**/data*", lambda route: route.fulfill(status=503))
    show(page, upstream.url, "page.html")
    expect(page.locator("#state")).to_have_text("refused")


def test_fetch_posts_and_shows_words_as_they_come(page, upstream):
    show(page, upstream.url, "chat.html")
    for text in ("item 0, ", "item 0, item 1, ", "item 0, item 1, item 2, "):
        upstream.allow()
        expect(page.locator("#answer")).to_have_text(text)
    expect(page.locator("#state")).to_have_text("done")


def test_its_stop_closes_the_generator_at_the_server(page, upstream):
    show(page, upstream.url, "chat.html")
    upstream.allow()
    expect(page.locator("#answer")).to_have_text("item 0,")
    page.click("#stop")
    expect(page.locator("#state")).to_have_text("cancelled")
    assert upstream.closes()


@pytest.mark.full
def test_it_shows_the_whole_answer_of_the_service(page, service):
    show(page, service, "chat.html")
    expect(page.locator("#state")).to_have_text("done", timeout=20_000)
    batch = page.request.post(f"{service}/chat", data={"messages": "Hello"}).json()
    assert page.text_content("#answer") == batch["message"]["content"]
