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


def test_the_page_shows_items_as_they_come_and_says_done(page, upstream):
    asked = []
    page.on("request", lambda request: "/data" in request.url and asked.append(request.url))
    show(page, upstream.url, "page.html")
    for count in range(1, 4):
        upstream.allow()
        expect(page.locator("li")).to_have_count(count)
        expect(page.locator("li").last).to_have_text(f"item {count - 1}")
    expect(page.locator("#state")).to_have_text("done")
    assert len(asked) == 1


def test_its_failure_is_shown(page, upstream):
    upstream.failure = RuntimeError("a secret")
    show(page, upstream.url, "page.html")
    upstream.allow()
    expect(page.locator("#state")).to_contain_text("The answer could not be completed.")


def test_after_a_lost_connection_it_begins_again_and_shows_nothing_twice(page, upstream):
    upstream.failure = BrokenTransfer("on purpose")
    show(page, upstream.url, "page.html")
    upstream.allow()
    expect(page.locator("#state")).to_have_text("lost; reconnecting")
    expect(page.locator("li")).to_have_count(1)
    upstream.failure = None
    upstream.allow(2)
    expect(page.locator("#state")).to_have_text("done")
    assert page.locator("li").all_text_contents() == ["item 0", "item 1", "item 2"]


def test_a_refusal_is_shown(page, upstream):
    page.route("**/data*", lambda route: route.fulfill(status=403))
    show(page, upstream.url, "page.html")
    expect(page.locator("#state")).to_have_text("403 Forbidden")


def test_the_chat_posts_and_shows_words_as_they_come(page, upstream):
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


def test_a_reload_continues_the_same_answer(page, upstream):
    asked = []
    page.on("request", lambda request: asked.append((request.method, request.url)))
    show(page, upstream.url, "chat.html")
    upstream.allow()
    expect(page.locator("#answer")).to_have_text("item 0,")
    page.reload()
    expect(page.locator("#answer")).to_have_text("item 0,")
    upstream.allow(2)
    expect(page.locator("#state")).to_have_text("done")
    assert page.text_content("#answer") == "item 0, item 1, item 2, "
    page.reload()
    expect(page.locator("#state")).to_have_text("done")
    assert len([url for method, url in asked if method == "POST"]) == 1


@pytest.mark.full
def test_it_shows_the_whole_answer_of_the_service(page, service):
    show(page, service, "chat.html")
    expect(page.locator("#state")).to_have_text("done", timeout=20_000)
    batch = page.request.post(f"{service}/chat", data={"messages": "Hello"}).json()
    assert page.text_content("#answer") == batch["message"]["content"]
