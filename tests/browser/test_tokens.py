"""The snippet of docs/operations.md: a page that goes on from token to token."""

import re

import pytest

from tests.conftest import ROOT

PAGE = """<!doctype html><meta charset="utf-8"><pre id="seen"></pre><script type="module">
const show = (data) => {
  const delta = JSON.parse(data).text_delta;
  if (delta) document.getElementById("seen").textContent += delta.content;
};
const clear = () => document.getElementById("seen").replaceChildren();
%s
window.watch = watch;
</script>"""
KEY = {"Authorization": "Bearer the-page-s-key"}


@pytest.mark.full
def test_a_reader_goes_on_when_its_token_has_expired(page, start_service):
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    snippet = re.search(r"^```javascript title=.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    running = start_service(
        DUAL_MODE_API_KEYS="the-page-s-key",
        DUAL_MODE_TOKEN_SECONDS="1",
        DUAL_MODE_LLM_RATE="8",
        DUAL_MODE_LLM_FIRST="0",
    )
    asked = []

    def tokens(route):
        asked.append(route.request.post_data)
        route.continue_(headers=route.request.headers | {"authorization": "Bearer the-page-s-key"})

    page.route("**/tokens", tokens)
    page.route(
        "**/reader", lambda route: route.fulfill(body=PAGE % snippet, content_type="text/html")
    )
    page.goto(f"{running.url}/reader")
    made = page.request.post(
        f"{running.url}/chat",
        data={"messages": "one two three four five six seven eight nine ten"},
        headers=KEY | {"Prefer": "respond-async"},
    )
    path = made.headers["location"]
    page.evaluate("path => void watch(path)", path)
    answer = page.request.get(f"{running.url}{path}?wait=60", headers=KEY)
    assert answer.status == 200, answer.text()
    whole = answer.json()
    said = whole["message"]["content"]
    page.wait_for_function(
        "said => document.getElementById('seen').textContent === said", arg=said, timeout=20_000
    )
    assert len(asked) >= 2, "it needed another token"
