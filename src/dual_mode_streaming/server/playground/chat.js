// The prompt, and its two answers side by side.

let answer = null, batch = null;

class Batch {
  constructor() {
    this.control = new AbortController();
    this.started = now();
    this.state = "waiting";
    this.waiting = new Countdown(draw);
  }

  async read(body) {
    const headers = {"Accept": "application/json", "Content-Type": "application/json", "Idempotency-Key": randomName(), ...credentials()};
    const {signal} = this.control;
    try {
      for (let failed = 1, status = 0; status !== 200; failed += 1) {
        const response = await fetch("/chat?stream=false", {method: "POST", headers, body, signal, cache: "no-store"});
        ({status} = response);
        this.document = await response.text();
        if (status === 200) break;
        const error = StreamError.of(this.document, {status, title: response.statusText});
        if (failed === 6 || ![429, 502, 503, 504].includes(status)) throw error;
        const delay = 1000 * (Number(response.headers.get("Retry-After")) || failed);
        this.waiting.begin({delay, failed, error});
        await new Promise((resolve) => setTimeout(resolve, delay));
        this.waiting.end();
      }
      const {message, usage} = JSON.parse(this.document);
      Object.assign(this, {text: message.content, tokens: usage.output_tokens, state: "done"});
      this.bytes = new TextEncoder().encode(this.document).length;
      this.total = now() - this.started;
    } catch (error) {
      if (signal.aborted) return;
      this.state = "failed";
      this.failure = error;
    }
    draw();
  }
}

function ask() {
  const body = JSON.stringify({messages: $("prompt").value, seed: Number($("seed").value)});
  batch?.control.abort();
  if (answer?.reading) answer.disconnect();
  [batch, answer] = [new Batch(), new Answer(Answer.start(body), draw)];
  frames.clear(answer.state.started);
  batch.read(body);
  answer.read();
  draw();
}

let drawing = false;
/** Draw at most once per frame of the screen. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; drawBatch(); drawStream(); drawBars(); });
}

function drawBatch() {
  show("batch-state", batch?.waiting.text || batch?.state || "–");
  show("batch-first-ms", milliseconds(batch?.total));
  show("batch-total-ms", milliseconds(batch?.total));
  show("batch-tokens", batch?.tokens ?? "–");
  show("batch-bytes", batch?.bytes ?? "–");
  show("batch-text", batch?.text ?? "");
  show("batch-document", batch?.total ? batch.document : "");
  showProblem("batch-problem", batch?.failure);
}

function drawStream() {
  const state = answer?.state, over = !state || state.end !== null;
  const reading = Boolean(answer?.reading), waiting = answer?.waiting.text;
  const name = !state ? "–" : state.end ?? (waiting || (reading ? "streaming" : answer.failure ? "failed" : "disconnected"));
  show("stream-state", name);
  show("stream-first-ms", milliseconds(state?.first));
  show("stream-total-ms", milliseconds(state?.total));
  show("stream-tokens", state?.tokens ?? "–");
  show("stream-bytes", state?.bytes ?? "–");
  show("stream-text", state?.text ?? "");
  show("connections", state?.connections ?? 0);
  show("gaps", state?.gaps ?? 0);
  show("duplicates", state?.duplicates ?? 0);
  show("shown", state?.shown ?? "none");
  $("stream-text").ariaBusy = String(reading);
  $("stop").disabled = over;
  $("disconnect").disabled = over || !reading;
  $("drop").disabled = over || !reading || Boolean(waiting);
  $("reconnect").disabled = over || (reading && !waiting);
  showProblem("stream-problem", answer?.failure);
}

/** Draw both bars on one scale: dark until the first token, light until the last. */
function drawBars() {
  const times = {batch: [batch?.total, batch?.total], stream: [answer?.state.first, answer?.state.total]};
  const longest = Math.max(1, ...Object.values(times).flat().map((time) => time ?? 0));
  for (const [mode, [first, total]] of Object.entries(times)) {
    $(`${mode}-first`).style.width = `${100 * (first ?? 0) / longest}%`;
    $(`${mode}-total`).style.width = `${100 * (total ?? 0) / longest}%`;
  }
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
$("stop").addEventListener("click", () => answer.stop());
$("disconnect").addEventListener("click", () => answer.disconnect());
$("drop").addEventListener("click", () => answer.drop());
$("reconnect").addEventListener("click", () => answer.reading ? answer.waiting.hurry() : answer.read());
$("copy").addEventListener("click", () => {
  const body = JSON.stringify({messages: $("prompt").value, seed: Number($("seed").value)});
  copyLine(asCurl("/chat?stream=true", {headers: {"Content-Type": "application/json"}, body}));
});

addEventListener("pagehide", () => answer?.keep());

// Continue the stream from before a reload. The batch has no Location, so it cannot be continued.
const kept = Answer.kept();
if (kept) {
  answer = new Answer(kept, draw);
  frames.clear(kept.started);
  try {
    const {messages, seed} = JSON.parse(kept.body);
    [$("prompt").value, $("seed").value] = [messages, seed];
  } catch { /* not written by this page */ }
  if (kept.end === null) answer.read();
  draw();
}
