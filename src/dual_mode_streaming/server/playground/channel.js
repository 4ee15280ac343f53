// A channel: every tab publishes and reads it. A second one beside it says how far each tab has read.

const KEPT_CHANNEL = "channel", NEWEST = 200; // the messages that stay visible
const EVERY = 1000, AGAIN = 5000, GONE = 20_000; // milliseconds: to look, to tell it again, to forget a reader

const pathOf = (name) => `/channels/${name.split("/").map(encodeURIComponent).join("/")}`;
const sequenceOf = (position) => Number(/(\d+)$/.exec(position ?? "")?.[1] ?? 0); // of a cursor or an offset

/** The answer of the service; throws a `StreamError` if it refuses. */
async function send(method, path, {body, headers = {}, ...options} = {}) {
  const given = {"Content-Type": "application/json", ...headers, ...credentials()};
  const response = await fetch(path, {method, body, headers: given, cache: "no-store", ...options});
  if (response.ok) return response;
  throw StreamError.of(await response.text(), {status: response.status, title: response.statusText});
}

/** Create the channel if it is not there; a channel of JSON that is there stays as it is. */
async function ensure(path, headers) {
  try {
    await send("HEAD", path);
  } catch (error) {
    if (error.status !== 404) throw error;
    await send("PUT", path, {headers});
  }
}

/** Publishes messages one after the other. A message that may have arrived is sent again, and counts once. */
class Publisher {
  constructor() {
    Object.assign(this, {producer: randomName(), sequence: 0, last: Promise.resolve()});
  }

  publish(path, message, options) {
    return this.last = this.last.catch(() => {}).then(() => this.send(path, message, options));
  }

  async send(path, message, options) {
    if (!this.known) await ensure(path);
    this.known = true;
    const headers = {"Producer-Id": this.producer, "Producer-Epoch": "0", "Producer-Seq": String(this.sequence)};
    for (let failed = 1; ; failed += 1) {
      try {
        // A JSON array in a body is several messages: so that of one message is an array of one.
        await send("POST", path, {body: JSON.stringify([message]), headers, ...options});
        this.sequence += 1;
        return;
      } catch (error) {
        this.known = error.status !== 404; // it was deleted
        if (failed === 5 || (error.status && ![429, 502, 503, 504].includes(error.status))) {
          // What is published next begins as a new producer: a new channel knows nothing of this one.
          Object.assign(this, {producer: randomName(), sequence: 0});
          throw error;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 500 * failed));
    }
  }
}

class ChannelPanel {
  /** `state` is new, or kept from before a reload; it has the messages and the cursor after them. */
  constructor(state) {
    this.state = state;
    this.path = pathOf(state.name);
    this.control = new AbortController();
    this.readers = new Readers(`${this.path}/readers`, this);
    this.publisher = new Publisher();
    this.waiting = new Countdown(() => this.draw());
  }

  static kept() {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT_CHANNEL));
    } catch {
      return null;
    }
  }

  keep() {
    try {
      sessionStorage.setItem(KEPT_CHANNEL, JSON.stringify(this.state));
    } catch { /* full or forbidden: then a reload starts again */ }
  }

  async read() {
    const {state, control: {signal}} = this;
    this.show("joining");
    try {
      await ensure(this.path);
      this.readers.begin();
      const messages = follow(this.path, {
        signal,
        headers: credentials,
        lastEventId: state.cursor,
        attempts: Infinity,
        maxWait: 5000,
        onOpen: () => { this.waiting.end(); this.show("joined"); },
        onWait: (wait) => this.waiting.begin(wait),
        onReset: ({reason}) => { Object.assign(state, {messages: [], cursor: ""}); this.note(`messages are missing: ${reason}`); },
      });
      for await (const {data, id} of messages) this.take(data, id);
      this.show("closed");
    } catch (error) {
      if (!signal.aborted) { this.failure = error; this.show("failed"); }
    }
    this.leave(this.word);
  }

  take(data, id) {
    const {state} = this;
    state.messages.push({id, ...partsOf(data)});
    if (state.messages.length > NEWEST) state.messages.shift();
    state.cursor = id;
    this.keep(); // the messages with their cursor: a reload neither loses nor repeats one
    this.draw();
  }

  note(text) {
    this.state.messages.push({id: "", from: "", text});
    this.draw();
  }

  publish(text) {
    return this.publisher.publish(this.path, {from: $("publish-name").value, text});
  }

  leave(word) {
    this.control.abort();
    this.waiting.end();
    this.readers.end();
    this.show(word);
  }

  get joined() {
    return !this.control.signal.aborted;
  }

  show(word) {
    this.word = word;
    this.draw();
  }

  draw() {
    if (panel !== this) return;
    const {state} = this, list = $("messages");
    show("channel-state", this.waiting?.text || this.word);
    show("channel-at", sequenceOf(state.cursor));
    show("channel-newest", Math.max(this.readers.newest, sequenceOf(state.cursor)));
    show("channel-readers", this.joined ? this.readers.count : "–");
    $("channel-leave").disabled = !this.joined;
    $("channel-join").disabled = this.joined;
    $("channel-name").disabled = this.joined;
    showProblem("channel-problem", this.failure);
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.replaceChildren(...state.messages.map(({id, from, text}) => element("li", {},
      element("code", {}, id && String(sequenceOf(id))), " ", ...(from ? [element("b", {dir: "auto"}, visible(from)), " "] : []),
      element("bdi", {}, visible(text)))));
    if (atEnd) list.scrollTop = list.scrollHeight; // unless the user has scrolled back
  }
}

/** Who reads, and how far: each tab publishes its position in a channel of its own. */
class Readers {
  constructor(path, panel) {
    Object.assign(this, {path, panel, tab: randomName(), others: new Map(), offset: "now", newest: 0, timer: 0});
    this.publisher = new Publisher();
  }

  async begin() {
    try {
      await ensure(this.path, {"Stream-TTL": "600"});
      await this.look();
    } catch ({status}) {
      if (![401, 403, 404].includes(status)) this.draw(); // which tries again; else the messages are shown without readers
    }
  }

  end() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  /** Tell the own position, read those of the others, and do it again. */
  async look() {
    const {panel} = this, at = sequenceOf(panel.state.cursor);
    if (at !== this.told || this.isNew || now() - this.when > AGAIN) {
      if (this.offset === "now") await this.hear(); // before the others answer
      Object.assign(this, {told: at, when: now(), isNew: false});
      await this.publisher.publish(this.path, {tab: this.tab, name: $("publish-name").value, at});
    }
    await this.hear();
    this.newest = sequenceOf((await send("HEAD", panel.path)).headers.get("Stream-Next-Offset"));
    this.draw();
  }

  async hear() {
    const response = await send("GET", `${this.path}?offset=${this.offset}`);
    this.offset = response.headers.get("Stream-Next-Offset");
    for (const {tab, name, at, gone} of await response.json()) {
      this.isNew ||= tab !== this.tab && !this.others.has(tab) && !gone;
      this.others.set(tab, {name: String(name), at: Number(at), when: now()});
      if (gone) this.others.delete(tab);
    }
  }

  draw() {
    for (const [tab, {when}] of this.others) if (now() - when > GONE) this.others.delete(tab);
    $("readers").replaceChildren(...Array.from(this.others, ([tab, {name, at}]) => element("li", {},
      element("bdi", {}, visible(name)), tab === this.tab ? " (this tab)" : "", " at ", element("b", {}, String(at)))));
    this.panel.draw();
    if (this.timer !== null) this.timer = setTimeout(() => this.look().catch((error) => this.failed(error)), EVERY);
  }

  failed({status}) {
    if ([404, 410].includes(status)) { // the positions are gone: begin again
      this.offset = "now";
      this.begin();
    } else {
      this.draw();
    }
  }

  get count() {
    return this.others.size;
  }

  /** Say that the tab is gone, also while the page is unloaded. */
  leave() {
    const body = JSON.stringify([{tab: this.tab, gone: true}]);
    send("POST", this.path, {body, keepalive: true}).catch(() => {});
  }
}

/** The parts of a message: {from, text} as this page publishes it, or whatever else it is. */
function partsOf(data) {
  let value = data;
  try {
    value = JSON.parse(data);
  } catch { /* a channel of text */ }
  if (typeof value?.text === "string") return {from: typeof value.from === "string" ? value.from : "", text: value.text};
  return {from: "", text: typeof value === "string" ? value : JSON.stringify(value)};
}

/** The text with its control characters visible; `bdi` keeps its direction inside it. */
const visible = (text) => text.replace(/[\p{Cc}\u2028\u2029]/gu, (each) => (each === "\t" ? each : "\uFFFD"));

let panel = null;

function join(state) {
  panel = new ChannelPanel(state);
  panel.keep();
  const url = new URL(panel.path, location.href).href;
  show("channel-command", `dual-mode publish ${url} Hello`);
  panel.read();
}

function leaveChannel() {
  panel.readers.leave();
  panel.leave("left");
  panel.state.joined = false;
  panel.keep();
}

const fresh = () => ({name: $("channel-name").value, messages: [], cursor: "", joined: true});

$("channel").addEventListener("submit", (event) => { event.preventDefault(); join(fresh()); });
$("channel-leave").addEventListener("click", leaveChannel);
$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!panel?.joined) { if ($("channel").reportValidity()) join(fresh()); else return; }
  const here = panel, text = $("publish-text").value;
  $("publish-text").value = "";
  try {
    await here.publish(text);
    here.failure = null;
  } catch (error) {
    here.failure = error;
    if (!$("publish-text").value) $("publish-text").value = text;
  }
  here.draw();
});
addEventListener("pagehide", () => { if (panel?.joined) panel.readers.leave(); });

$("key").addEventListener("change", () => { if (panel?.failure?.status === 401) join(panel.state); });

$("publish-name").value = `reader ${randomName().slice(0, 4)}`;
// Continue from before a reload, after the last message that was shown.
const keptPanel = ChannelPanel.kept();
if (keptPanel) $("channel-name").value = keptPanel.name;
if (keptPanel?.joined) join(keptPanel);
