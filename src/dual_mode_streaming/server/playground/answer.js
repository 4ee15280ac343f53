// The streamed answer. It continues over several connections, and after a reload of the page.

const KEPT = "answer";

class Answer {
  /** `state` is from `Answer.start`, or kept from before a reload; `changed` draws the answer. */
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.failure = null;
    this.waiting = new Countdown(changed);
    this.control = null; // of what reads the answer now
  }

  static start(body) {
    return {
      key: randomName(), body, location: null, cursor: "", sequence: null, text: "", events: 0,
      bytes: 0, gaps: 0, duplicates: 0, connections: 0, started: now(), end: null,
    };
  }

  /** The state kept from before a reload, or null. */
  static kept() {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT));
    } catch {
      return null;
    }
  }

  keep() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(this.state));
    } catch { /* full or forbidden: then a reload starts again */ }
  }

  get reading() {
    return this.control !== null;
  }

  /** Read to the end of the answer, over any number of connections. */
  async read() {
    const {state} = this, control = this.control = new AbortController();
    this.failure = null;
    // The key makes it safe to repeat the request: the service starts one answer only.
    const headers = {"Content-Type": "application/json", "Idempotency-Key": state.key};
    const stream = this.stream = follow(state.location ?? "/chat?stream=true", {
      ...(state.location ? {} : {method: "POST", body: state.body}),
      headers: () => ({...(state.location ? {} : headers), ...credentials()}),
      lastEventId: state.cursor,
      signal: control.signal,
      fetch: (request) => this.connect(request),
      onOpen: () => this.opened(),
      onReset: () => Object.assign(state, {text: "", sequence: null, cursor: ""}),
      onWait: (wait) => this.waiting.begin(wait),
    });
    try {
      for await (const {data} of stream) this.item(JSON.parse(data));
    } catch (error) {
      if (!control.signal.aborted) this.failure = error;
    }
    state.end = stream.end === "no-content" ? "done" : stream.end;
    state.cursor = stream.lastEventId;
    this.waiting.end();
    this.control = null;
    this.keep();
    this.changed();
  }

  /** The `fetch` of `follow`: it shows what goes over the wire, and can be dropped. */
  async connect(request) {
    const {state} = this, {pathname, search} = new URL(request.url);
    this.waiting.end();
    this.connection = new AbortController();
    state.connections += 1;
    state.shown = request.headers.get("Last-Event-ID");
    this.note(`${request.method} ${pathname}${search}${state.shown ? `  Last-Event-ID: ${state.shown}` : ""}`);
    this.changed();
    const response = await fetch(request, {signal: AbortSignal.any([request.signal, this.connection.signal])});
    this.note(`${response.status} ${response.statusText}`);
    if (!response.ok || !response.body) return response;
    const decoder = new TextDecoder();
    let rest = "";
    const shown = new TransformStream({
      transform: (chunk, given) => {
        const texts = (rest + decoder.decode(chunk, {stream: true})).split("\n\n");
        rest = texts.pop();
        for (const text of texts) this.frame(`${text}\n\n`);
        given.enqueue(chunk);
      },
    });
    return new Response(response.body.pipeThrough(shown), response);
  }

  opened() {
    this.state.location = this.stream.location;
    this.keep();
    this.changed();
    if (this.stopping) this.stop();
  }

  /** Show and count a frame as it came. */
  frame(text) {
    const {state} = this, {id, bytes} = frames.frame(text);
    state.bytes += bytes;
    if (!id) return;
    const sequence = Number(/\d+$/.exec(id));
    state.events += 1;
    state.total = now() - state.started;
    if (state.sequence !== null) {
      state.gaps += Math.max(0, sequence - state.sequence - 1);
      state.duplicates += sequence <= state.sequence;
    }
    state.sequence = sequence;
  }

  item(event) {
    const {state} = this;
    state.cursor = this.stream.lastEventId;
    if (event.type === "text_delta") {
      state.first ??= now() - state.started;
      state.text += event.text_delta.content;
    } else if (event.type === "message_complete") {
      state.tokens = event.usage.output_tokens;
    }
    this.keepSoon();
    this.changed();
  }

  /** Break the connection as a failing network would: the page reconnects automatically. */
  drop() {
    this.connection?.abort(new Error("Connection dropped"));
    this.note("connection dropped");
  }

  /** Close the connection; the answer continues at the service. */
  disconnect() {
    this.note("disconnected");
    this.control?.abort();
  }

  /** Cancel the answer at the service. */
  async stop() {
    this.stopping = true;
    if (!this.state.location) return; // `opened` calls this again
    this.note(`POST ${new URL(this.state.location).pathname}/cancel`);
    try {
      const {state: end} = await stop(this.state.location, {headers: credentials()});
      if (!this.reading && end !== "running") this.state.end = end; // else the stream says so
    } catch (error) {
      this.failure = error;
    }
    this.keep();
    this.changed();
  }

  note(text) {
    frames.note(text);
  }

  /** Keep the state at most ten times a second: the whole text is written each time. */
  keepSoon() {
    this.keeping ??= setTimeout(() => { this.keeping = null; this.keep(); }, 100);
  }
}
