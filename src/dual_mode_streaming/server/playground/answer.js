"use strict";
// The streamed answer: it outlives its connection, and this page. Its state is what a reload keeps.

const ENDS = ["done", "error", "cancelled", "interrupted"];
const KEPT = "answer";

class Answer {
  /** `state` is of `Answer.asked`, or of a page before this one; `changed` draws it. */
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.left = false; // by the reader, for now: Disconnect
    this.waiting = "";
    this.failure = null;
    this.patience = new Patience((text) => { this.waiting = text; changed(); });
    this.connection = null;
  }

  static asked(body) {
    return {
      key: randomName(), body, place: null, cursor: null, sequence: 0, text: "", events: 0,
      bytes: 0, gaps: 0, duplicates: 0, connections: 0, started: now(), end: null,
    };
  }

  /** What a page before this one has kept, or null. */
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
    } catch { /* full, or forbidden: then a reload begins anew */ }
  }

  get reading() {
    return this.connection !== null;
  }

  get request() {
    const {place, cursor, key, body} = this.state;
    const headers = {Accept: "text/event-stream"};
    if (place !== null) {
      if (cursor !== null) headers["Last-Event-ID"] = cursor;
      return [place, {headers}];
    }
    // The key makes it safe to ask again: the service begins one answer, however often it is asked.
    Object.assign(headers, {"Content-Type": "application/json", "Idempotency-Key": key});
    return ["/chat?stream=true", {method: "POST", headers, body}];
  }

  /** Read to the end of the answer, over as many connections as that takes. */
  async read() {
    this.left = false;
    this.failure = null;
    this.patience.progress();
    while (this.state.end === null && !this.left) {
      try {
        await this.connect();
      } catch (error) {
        if (error instanceof Failure) {
          this.failure = error;
          break;
        }
        if (this.left) break;
        this.note(this.dropped ? "dropped" : "the connection is lost");
        try {
          const why = this.dropped ? "The connection is dropped" : "The connection is lost";
          await this.patience.wait(why, this.dropped ? 2 : undefined);
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
    const response = await patiently(this.patience, path, {...request, signal});
    if (!response.ok) throw await Failure.ofResponse(response);
    this.note(`${response.status} ${response.statusText}`);
    if (response.status === 204) {
      state.end = "done";
      return;
    }
    state.place ??= response.headers.get("Location");
    this.keep();
    this.changed();
    if (this.stopping) this.stop();
    for await (const frame of readEvents(response)) this.take(frame);
    if (state.end === null) await this.patience.wait("The stream was cut off", this.pause);
  }

  take(frame) {
    const state = this.state;
    frames.frame(frame);
    this.patience.progress();
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

  /** Count what is missing before it, and whether it was there already. An id ends in a number. */
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

  /** As if the network had failed: the page comes back by itself. */
  drop() {
    this.dropped = true;
    this.connection?.abort();
  }

  /** The reader leaves; the answer goes on at the service. */
  disconnect() {
    this.left = true;
    this.note("disconnected");
    this.connection?.abort();
    this.patience.hurry();
  }

  /** The answer itself is ended, at the service. */
  async stop() {
    this.stopping = true;
    if (this.state.place === null) return; // when its place is known
    const path = `${this.state.place}/cancel`;
    this.note(`POST ${path}`);
    try {
      const response = await fetch(path, {method: "POST"});
      if (!response.ok) throw await Failure.ofResponse(response);
      const {state: end} = await response.json();
      if (!this.reading && ENDS.includes(end)) this.state.end = end; // else the stream tells it
    } catch (error) {
      this.failure = error instanceof Failure ? error : new Failure("Not stopped", error.message);
    }
    this.keep();
    this.changed();
  }

  note(text) {
    frames.note(text);
  }

  /** Not with every event: the text grows, and is written whole each time. */
  keepSoon() {
    this.keeping ??= setTimeout(() => { this.keeping = null; this.keep(); }, 100);
  }
}
