"""The playground's panel of a channel, in two tabs."""

import secrets

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import run_service

KEYS = ("first-key-of-a-test", "second-key-of-a-test")


@pytest.fixture(scope="module")
def place():
    with run_service("--log-level", "warning") as running:
        yield running.url


@pytest.fixture
def name():
    return f"tests/{secrets.token_hex(6)}"


def join(page: Page, url: str, name: str) -> Page:
    page.goto(url)
    page.fill("#channel-name", name)
    page.click("#channel-join")
    expect(page.locator("#channel-state")).to_have_text("joined")
    return page


def publish(page: Page, text: str) -> None:
    page.fill("#publish-text", text)
    page.press("#publish-text", "Enter")


def shows(page: Page, *texts: str) -> None:
    """The messages are these, in this order, each once."""
    expect(page.locator("#messages bdi")).to_have_text(list(texts))


def test_two_tabs_publish_and_see_who_is_where(page, place, name):
    other = page.context.new_page()
    join(page, place, name)
    join(other, place, name)
    page.fill("#publish-name", "Ada")
    other.fill("#publish-name", "Grace")
    for number, tab in enumerate([page, other, page, other]):
        publish(tab, f"message {number}")
        shows(other, *(f"message {n}" for n in range(number + 1)))
    shows(page, *(f"message {n}" for n in range(4)))
    for tab in (page, other):
        expect(tab.locator("#messages b")).to_have_text(["Ada", "Grace", "Ada", "Grace"])
        expect(tab.locator("#messages code")).to_have_text(["1", "2", "3", "4"])
        expect(tab.locator("#channel-at")).to_have_text("4")
        expect(tab.locator("#channel-newest")).to_have_text("4")
        expect(tab.locator("#channel-readers")).to_have_text("2")
        expect(tab.locator("#readers li", has_text="Ada")).to_contain_text("at 4")
        expect(tab.locator("#readers li", has_text="Grace")).to_contain_text("at 4")
    other.click("#channel-leave")
    expect(page.locator("#channel-readers")).to_have_text("1")
    publish(page, "alone")
    shows(page, *(f"message {n}" for n in range(4)), "alone")
    assert other.locator("#messages li").count() == 4
    other.click("#channel-join")
    shows(other, *(f"message {n}" for n in range(4)), "alone")
    expect(page.locator("#channel-readers")).to_have_text("2")
    other.close()
    expect(page.locator("#channel-readers")).to_have_text("1", timeout=60_000)


def test_messages_published_at_once_keep_their_order(page, place, name):
    page.goto(place)
    page.fill("#channel-name", name)
    texts = [f"message {number}" for number in range(6)]
    for text in texts:  # the first one joins
        publish(page, text)
    shows(page, *texts)


def test_a_reload_loses_and_repeats_nothing(page, place, name):
    join(page, place, name)
    publish(page, "one")
    shows(page, "one")
    page.reload()
    expect(page.locator("#channel-state")).to_have_text("joined")
    shows(page, "one")
    page.goto("about:blank")
    for text in ("two", "three"):
        httpx.post(f"{place}/channels/{name}", json={"from": "a job", "text": text})
    resumed = []
    page.on("request", lambda request: resumed.append(request.headers.get("last-event-id")))
    page.goto(place)
    shows(page, "one", "two", "three")
    assert any((cursor or "").endswith(".1") for cursor in resumed)
    expect(page.locator("#channel-at")).to_have_text("3")


def test_what_others_publish_stays_text(page, place, name):
    join(page, place, name)
    evil = "<img src=x onerror=\"document.title='taken'\"><script>1</script>"
    texts = [evil, "\u202egnp.exe", "\x1b[31mred\x07", '{"text": "quoted"}', "\u2028"]
    for text in texts:
        httpx.post(f"{place}/channels/{name}", json={"from": text, "text": text})
    for value in (7, [[1, "<b>"]], {"state": "paid"}, "plain", {"text": 1}):
        httpx.post(f"{place}/channels/{name}", json=value)
    seen = [text.translate(dict.fromkeys(b"\x1b\x07", "\ufffd")) for text in texts[:4]]
    rest = ["7", '[1,"<b>"]', '{"state":"paid"}', "plain", '{"text":1}']
    expect(page.locator("#messages li")).to_have_count(10)
    found = page.locator("#messages bdi").all_text_contents()
    assert found == [*seen, "\ufffd", *rest]
    assert page.locator("#messages img, #messages script, #readers img").count() == 0
    assert page.title() == "dual-mode-streaming"


def test_what_is_published_is_what_others_read(page, place, name):
    join(page, place, name)
    page.fill("#publish-name", "Ada")
    publish(page, '[1] "quoted" \\ ü')
    shows(page, '[1] "quoted" \\ ü')
    document = httpx.get(f"{place}/channels/{name}?offset=-1").json()
    assert document == [{"from": "Ada", "text": '[1] "quoted" \\ ü'}]
    assert name in page.locator("#channel-command").inner_text()


def test_a_channel_that_begins_again_or_ends(page, place, name):
    join(page, place, name)
    publish(page, "old")
    shows(page, "old")
    url = f"{place}/channels/{name}"
    httpx.delete(url).raise_for_status()
    httpx.put(url, headers={"Content-Type": "application/json"}).raise_for_status()
    httpx.post(url, json="new").raise_for_status()
    expect(page.locator("#messages bdi")).to_contain_text(["messages are missing", "new"])
    httpx.post(url, headers={"Stream-Closed": "true"}).raise_for_status()
    expect(page.locator("#channel-state")).to_have_text("closed")
    publish(page, "too late")
    expect(page.locator("#channel-problem")).to_contain_text("409")


def test_a_channel_that_is_deleted_is_published_to_again(page, place, name):
    join(page, place, name)
    expect(page.locator("#channel-readers")).to_have_text("1")
    for text in ("one", "two"):
        publish(page, text)
    shows(page, "one", "two")
    url = f"{place}/channels/{name}"
    httpx.delete(url).raise_for_status()
    publish(page, "refused")
    expect(page.locator("#channel-problem")).to_contain_text("404")
    publish(page, "three")
    expect(page.locator("#messages bdi").last).to_have_text("three")
    httpx.delete(f"{url}/readers").raise_for_status()
    other = join(page.context.new_page(), place, name)
    for tab in (page, other):
        expect(tab.locator("#channel-readers")).to_have_text("2", timeout=60_000)


def test_the_key_of_a_service_and_its_owner(page):
    with run_service("--log-level", "warning", DUAL_MODE_API_KEYS=",".join(KEYS)) as running:
        page.goto(running.url)
        expect(page.locator("#key")).to_be_visible()  # the feed was refused
        page.click("#channel-join")
        expect(page.locator("#channel-problem")).to_contain_text("401")
        page.fill("#key", KEYS[0])
        page.press("#key", "Tab")
        expect(page.locator("#channel-state")).to_have_text("joined")
        expect(page.locator("#feed-state")).to_have_text("connected")
        publish(page, "mine")
        shows(page, "mine")
        page.click("text=Ask both ways")
        expect(page.locator("#stream-state")).to_have_text("done")
        expect(page.locator("#batch-state")).to_have_text("done")
        page.click("#channel-leave")
        page.fill("#key", KEYS[1])
        page.click("#channel-join")
        expect(page.locator("#channel-problem")).to_contain_text("another owner")
        assert page.locator("#messages li").count() == 0
