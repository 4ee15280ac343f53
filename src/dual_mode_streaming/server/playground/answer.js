"use strict";
// The streamed answer. It continues over several connections, and after a reload of the page.

const ENDS = ["done", "error", "cancelled", "interrupted"];
const KEPT = "answer";

class Answer {
  /** `state` is from `Answer.start`, or kept from before a reload; `changed` draws the answer. */
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.left = false; // Disconnect was pressed
    this.waiting = "";
    this.failure = null;
    this.retries = new Retries((text) => { this.waiting = text; changed(); });
    this.connection = null;
  }

  static start(body) {
    return {
      key: randomName(), body, location: null, cursor: null, sequence: 0, text: "", events: 0,
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
    return this.connection !== null;
  }

  get request() {
    const {location, cursor, key, body} = this.state;
    const headers = {Accept: "text/event-stream"};
    if (location) {
      if (cursor !== null) headers["Last-Event-ID"] = cursor;
      return [location, {headers}];
    }
    // The key makes it safe to repeat the request: the service starts one answer only.
    Object.assign(headers, {"Content-Type": "application/json", "Idempotency-Key": key});
    return ["/chat?stream=true", {method: "POST", headers, body}];
  }

  /** Read to the end of the answer, over any number of connections. */
  async read() {
    this.left = false;
    this.failure = null;
    this.retries.progress();
    while (this.state.end === null && !this.left) {
      try {
        await this.connect();
      } catch (error) {
        if (error instanceof Failure) {
          this.failure = error;
          break;
        }
        if (this.left) break;
        this.note(this.dropped ? "connection dropped" : "connection lost");
        try {
          const why = this.dropped ? "Connection dropped" : "Connection lost";
          await this.retries.wait(why, this.dropped ? 2 : undefined);
        } catch (failure) {
          this.failure = failure;
          break;
        }
      }
    }
    this.connection = null;
    this.keep();
    this.changed();
  }

  async connect() {
    const state = this.state;
    this.connection = new AbortController();
    this.dropped = false;
    state.connections += 1;
    const [path, request] = this.request;
    state.shown = request.headers["Last-Event-ID"] ?? null;
    this.note(`${request.method ?? "GET"} ${path}${state.shown ? `  Last-Event-ID: ${state.shown}` : ""}`);
    this.changed();
    const {signal} = this.connection;
    const response = await fetchWithRetries(this.retries, path, {...request, signal});
    if (!response.ok) throw await Failure.ofResponse(response);
    this.note(`${response.status} ${response.statusText}`);
    if (response.status === 204) {
      state.end = "done";
      return;
    }
    state.location ??= response.headers.get("Location");
    this.keep();
    this.changed();
    if (this.stopping) this.stop();
    for await (const frame of readEvents(response)) this.take(frame);
    if (state.end === null) await this.retries.wait("The stream was interrupted", this.pause);
  }

  take(frame) {
    const state = this.state;
    frames.frame(frame);
    this.retries.progress();
    state.bytes += frame.bytes;
    if (frame.retry !== undefined) this.pause = frame.retry / 1000;
    if (frame.data === undefined) return;
    if (frame.id !== undefined && !this.follows(frame.id)) return;
    state.events += 1;
    state.total = now() - state.started;
    if (frame.event === "reset") {
      Object.assign(state, {text: "", sequence: null});
    } else if (ENDS.includes(frame.event)) {
      state.end = frame.event;
      if (frame.event === "error") this.failure = Failure.of(JSON.parse(frame.data));
    } else {
      this.item(JSON.parse(frame.data));
    }
    this.keepSoon();
    this.changed();
  }

  item(event) {
    const state = this.state;
    if (event.type === "text_delta") {
      state.first ??= now() - state.started;
      state.text += event.text_delta.content;
    } else if (event.type === "message_complete") {
      state.tokens = event.usage.output_tokens;
    }
  }

  /** Count gaps and duplicates by the number at the end of the id; false for a duplicate. */
  follows(id) {
    const state = this.state, sequence = Number(/\d+$/.exec(id));
    if (state.sequence !== null) {
      if (sequence <= state.sequence) {
        state.duplicates += 1;
        return false;
      }
      state.gaps += sequence - state.sequence - 1;
    }
    [state.sequence, state.cursor] = [sequence, id];
    return true;
  }

  /** Break the connection as a failing network would: the page reconnects automatically. */
  drop() {
    this.dropped = true;
    this.connection?.abort();
  }

  /** Close the connection; the answer continues at the service. */
  disconnect() {
    this.left = true;
    this.note("disconnected");
    this.connection?.abort();
    this.retries.retryNow();
  }

  /** Cancel the answer at the service. */
  async stop() {
    this.stopping = true;
    if (!this.state.location) return; // `connect` calls this again
    const path = `${this.state.location}/cancel`;
    this.note(`POST ${path}`);
    try {
      const response = await fetch(path, {method: "POST"});
      if (!response.ok) throw await Failure.ofResponse(response);
      const {state: end} = await response.json();
      if (!this.reading && ENDS.includes(end)) this.state.end = end; // else the stream says so
    } catch (error) {
      this.failure = error instanceof Failure ? error : new Failure("The answer could not be stopped", error.message);
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
