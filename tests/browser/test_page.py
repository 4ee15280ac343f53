"""The playground at `/`, used as a visitor uses it."""

import json
import re
import subprocess

import pytest
from playwright.sync_api import Page, expect

from dual_mode_streaming.server.app import create_app
from dual_mode_streaming.server.settings import Settings
from tests.conftest import run_service

from .conftest import in_thread

SLOWLY = {"DUAL_MODE_LLM_RATE": "25", "DUAL_MODE_LLM_FIRST": "0.1", "DUAL_MODE_LLM_JITTER": "0"}
LONG = " ".join(f"word{number}" for number in range(30))


@pytest.fixture(scope="module")
def place():
    """A service whose model takes its time."""
    with run_service("--log-level", "warning", **SLOWLY) as running:
        yield running.url


@pytest.fixture
def playground(page: Page, place: str):
    """The page, opened; the test fails if its policy forbids it anything."""
    forbidden: list[str] = []
    page.on(
        "console",
        lambda line: forbidden.append(line.text) if "Content Security" in line.text else None,
    )
    page.goto(place)
    yield page
    assert not forbidden


def milliseconds(page: Page, name: str) -> float:
    return float(page.locator(f"#{name}").inner_text().removesuffix(" ms"))


def ask(page: Page, prompt: str) -> None:
    page.fill("#prompt", prompt)
    page.click("text=Ask both ways")


def said(page: Page, words: int) -> None:
    """Wait until the stream has come so far."""
    page.wait_for_function(
        "n => document.getElementById('stream-text').textContent.includes(`word${n}`)", arg=words
    )


def whole_and_unbroken(page: Page) -> None:
    """The answer is that of the batch; nothing was missed, and nothing came twice."""
    expect(page.locator("#stream-state")).to_have_text("done")
    expect(page.locator("#batch-state")).to_have_text("done")
    assert page.locator("#stream-text").text_content() == page.locator("#batch-text").text_content()
    expect(page.locator("#gaps")).to_have_text("0")
    expect(page.locator("#duplicates")).to_have_text("0")


def test_both_modes_run_side_by_side(playground):
    page = playground
    ask(page, "Side by side, please")
    whole_and_unbroken(page)
    assert milliseconds(page, "stream-first-ms") < milliseconds(page, "batch-first-ms")
    assert page.locator("#stream-tokens").inner_text() == page.locator("#batch-tokens").inner_text()
    for name in ("batch-first", "batch-total", "stream-first", "stream-total"):
        assert page.locator(f"#{name}").bounding_box()["width"] > 0
    rows = page.locator("#frames tr:not(.note)")
    assert rows.count() >= 4
    cells = rows.nth(1).locator("td").all_inner_texts()
    assert float(cells[0]) > 0
    assert re.fullmatch(r"[0-9a-f]{32}\.1\.\d+", cells[1])
    assert int(cells[3]) > len(cells[4])
    expect(page.locator("#frames tr.done")).to_have_count(1)
    assert json.loads(page.locator("#batch-document").text_content())["message"]["content"]


def test_markup_in_an_answer_stays_text(playground):
    page = playground
    ask(page, "<img src=x onerror=\"document.title='taken'\"><b>bold</b>")
    whole_and_unbroken(page)
    assert "<img src=x" in page.locator("#stream-text").text_content()
    assert page.locator("#stream-text *, #batch-text *, #frames img").count() == 0
    assert page.title() == "dual-mode-streaming"


def test_what_is_copied_as_curl_runs(playground):
    page = playground
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#prompt", 'It\'s a "quote", $HOME `id` \\ and ü')
    page.click("text=Copy as curl")
    expect(page.locator("#copied")).to_have_text("Copied")
    line = page.evaluate("navigator.clipboard.readText()")
    assert page.locator("#curl").text_content() == line
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert "event: done" in answer.stdout, answer.stderr
    text = "".join(
        json.loads(data).get("text_delta", {}).get("content", "")
        for data in re.findall(r"^data: (.*)", answer.stdout, re.MULTILINE)
    )
    assert 'It\'s a "quote", $HOME `id` \\ and ü' in text


def test_a_dropped_connection_comes_back_where_it_was(playground):
    page = playground
    ask(page, f"{LONG} {LONG}")
    said(page, 3)
    page.click("text=Drop connection")
    page.evaluate("document.getElementById('reconnect').click()")  # disabled once it has come back
    expect(page.locator("#shown")).to_have_text(re.compile(r"^[0-9a-f]{32}\.1\.\d+$"))
    said(page, 9)
    page.click("text=Drop connection")  # and now it comes back by itself
    whole_and_unbroken(page)
    expect(page.locator("#connections")).to_have_text("3")


def test_disconnect_leaves_the_answer_running_and_stop_ends_it(playground):
    page = playground
    ask(page, f"{LONG} {LONG}")
    said(page, 2)
    page.click("text=Disconnect")
    expect(page.locator("#stream-state")).to_have_text("disconnected")
    left = page.locator("#stream-text").text_content()
    expect(page.locator("#batch-state")).to_have_text("done")  # so long it has gone on
    assert page.locator("#stream-text").text_content() == left
    page.click("text=Reconnect")
    whole_and_unbroken(page)

    ask(page, f"{LONG} {LONG} {LONG} and the last")
    said(page, 2)
    page.locator("#stop").click()
    expect(page.locator("#stream-state")).to_have_text("cancelled")
    expect(page.locator("#frames tr.cancelled")).to_have_count(1)
    assert "and the last" not in page.locator("#stream-text").text_content()


def test_a_reload_in_mid_answer_goes_on(playground):
    page = playground
    ask(page, LONG)
    said(page, 4)
    page.reload()
    expect(page.locator("#stream-state")).to_have_text("done")
    text = page.locator("#stream-text").text_content()
    assert LONG in text
    assert text.count("word4 ") == 1
    expect(page.locator("#gaps")).to_have_text("0")
    expect(page.locator("#duplicates")).to_have_text("0")
    assert page.locator("#prompt").input_value() == LONG
    page.reload()  # and a whole one stays
    expect(page.locator("#stream-text")).to_have_text(text)


def test_a_slow_consumer_is_charted(playground):
    page = playground
    page.fill("#slow-produce", "500")
    page.fill("#slow-drain", "50")
    page.fill("#slow-size", "10")
    page.click("text=Watch")
    expect(page.locator("#slow-producer")).to_have_text("paused")
    expect(page.locator("#slow-dropped")).to_have_text("0")
    assert int(page.locator("#slow-waiting").inner_text()) <= 10
    chart = page.locator("#slow-charts polyline:not(.bound)").first
    expect(chart).to_have_attribute("points", re.compile(r"\S+ \S+ \S+"))
    page.select_option("#slow-policy", "drop_oldest")
    expect(page.locator("#slow-dropped")).to_have_text(re.compile(r"^[1-9]"))
    expect(page.locator("#slow-producer")).to_have_text("running")
    page.select_option("#slow-policy", "disconnect")
    expect(page.locator("#slow-problem")).to_be_visible()
    page.click("text=Stop watching", force=True)


def test_a_refusal_is_shown_as_such_and_not_as_an_answer(playground):
    page = playground
    page.evaluate("document.getElementById('ask').noValidate = true")
    page.fill("#seed", "1.5")
    ask(page, "Hello")
    for mode in ("batch", "stream"):
        expect(page.locator(f"#{mode}-problem")).to_contain_text("422")
        expect(page.locator(f"#{mode}-problem")).to_contain_text("seed")
        expect(page.locator(f"#{mode}-state")).to_have_text("failed")
        expect(page.locator(f"#{mode}-text")).to_have_text("")


def test_the_keyboard_alone_is_enough(playground):
    page = playground
    page.locator("#prompt").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type(f"{LONG} {LONG} {LONG}")  # so that it is not over before the stop
    page.keyboard.press("Enter")
    said(page, 2)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "stop":
            break
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    expect(page.locator("#stream-state")).to_have_text("cancelled")


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.full)])
def test_it_fits_a_phone_in_light_and_dark(browser, place, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(place)
    ask(page, "Short")
    expect(page.locator("#stream-state")).to_have_text("done")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground[4:-1].split(",")) / 3
    assert (brightness > 128) is (scheme == "light")
    context.close()


def test_the_policy_lets_nothing_else_run(page, place):
    page.goto(place)
    with page.expect_console_message(lambda line: "Content Security" in line.text):
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'document.title = \"taken\"'}))"
        )
    assert page.title() == "dual-mode-streaming"


# --- a service that is away, or refuses ----------------------------------------------------------


class Refusing:
    """The service behind a door that refuses some requests first."""

    def __init__(self, times: int) -> None:
        self.app = create_app(Settings(llm={"rate": 100, "first": 0}))
        self.times = times

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/chat" or self.times <= 0:
            return await self.app(scope, receive, send)
        self.times -= 1
        headers = [(b"retry-after", b"1"), (b"content-type", b"application/problem+json")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"title": "Busy", "status": 503}'})


def test_the_page_itself_asks_again_when_it_is_refused(page):
    with in_thread(Refusing(3)) as url:
        page.goto(url)
        ask(page, "Please")
        expect(page.locator("#stream-state")).to_contain_text("Refused for now (503). Try ")
        whole_and_unbroken(page)
        page.goto("about:blank")


@pytest.mark.full
def test_a_service_that_comes_again_finds_its_readers(page, tmp_path):
    store = ("--store", f"sqlite:{tmp_path}/streams.db")
    with run_service(*store, **SLOWLY) as first:
        page.goto(first.url)
        expect(page.locator("#feed-state")).to_have_text("connected")
        ask(page, LONG)
        expect(page.locator("#batch-state")).to_have_text("done")
        port = first.url.rpartition(":")[2]
        page.click("text=Ask both ways")
        said(page, 3)
        first.process.kill()
        first.process.wait()
        expect(page.locator("#feed-state")).to_have_text("reconnecting")
    with run_service(*store, "--port", port, **SLOWLY):
        expect(page.locator("#feed-state")).to_have_text("connected", timeout=30_000)
        expect(page.locator("#stream-state")).to_have_text(
            re.compile("interrupted|done"), timeout=60_000
        )
        expect(page.locator("#gaps")).to_have_text("0")
        expect(page.locator("#duplicates")).to_have_text("0")
        ask(page, "And on it goes")
        whole_and_unbroken(page)


def test_the_live_charts_draw_and_can_be_paused(playground):
    page = playground
    expect(page.locator("#feed-state")).to_have_text("connected")
    page.wait_for_function("() => +document.getElementById('feed-events').textContent >= 2")
    expect(page.locator("#charts polyline").first).to_have_attribute(
        "points", re.compile(r"\S+ \S+")
    )
    page.click("text=Pause")
    expect(page.locator("#feed-state")).to_have_text("paused")
    page.click("text=Resume")
    expect(page.locator("#feed-state")).to_have_text("connected")
