"""`dual-mode.js` in a real Chromium, on a page of another origin that CORS allows."""

from tests.conftest import run_service

FOLLOW = """
async (service) => {
  const { follow, stop } = await import(`${service}/dual-mode.js`);
  let cuts = 2;
  const asked = [];
  const cutting = async (request) => {
    asked.push([request.method, request.headers.get("Last-Event-ID")]);
    const response = await fetch(request);
    if (cuts-- <= 0) return response;
    let left = 3;  // events, however they were packed: then the connection is lost
    const lost = (given) => given.error(new TypeError("network error"));
    const cut = new TransformStream({
      transform(chunk, given) {
        if (left <= 0) return lost(given);
        const blocks = new TextDecoder().decode(chunk).split(/(?<=\\n\\n)/).slice(0, left);
        left -= blocks.length;
        given.enqueue(new TextEncoder().encode(blocks.join("")));
      },
      flush: lost,
    });
    return new Response(response.body.pipeThrough(cut), response);
  };
  const body = { messages: "one two three four five six", seed: 1 };
  const stream = follow(`${service}/chat`, { body, fetch: cutting, delay: 1 });
  let text = "";
  for await (const { data } of stream) text += JSON.parse(data).text_delta?.content ?? "";
  const whole = await (await fetch(`${service}/chat`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  })).json();
  const long = { messages: "one two three ".repeat(30) };
  const second = follow(`${service}/chat`, { body: long });
  for await (const _ of second) { await stop(second.location); }
  return { text, whole: whole.message.content, end: stream.end, asked, stopped: second.end };
}
"""


def test_a_chat_from_another_origin_is_resumed_and_stopped(page, service):
    origin = service.replace("127.0.0.1", "localhost")
    variables = {"DUAL_MODE_CORS_ORIGINS": origin, "DUAL_MODE_LLM_FIRST": "0"}
    with run_service("--log-level", "warning", **variables) as running:
        page.goto(f"{origin}/healthz")
        seen = page.evaluate(FOLLOW, running.url)
    assert seen["text"] == seen["whole"]
    assert (seen["end"], seen["stopped"]) == ("done", "cancelled")
    (post, *gets) = seen["asked"]
    assert post == ["POST", None]
    assert len(gets) == 2
    assert all(method == "GET" and cursor for method, cursor in gets)
