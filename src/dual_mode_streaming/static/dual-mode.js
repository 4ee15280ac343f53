// Read a stream of Server-Sent Events to its end, over any number of connections. No dependencies.

const RECORDED = /^(.+)\.(\d{1,15})\.(\d{1,15})$/; // stream, generation, sequence
const TEMPORARY = [429, 503, 502, 504]; // with a Retry-After, the first two say that nothing was done
const ENDS = ["done", "cancelled", "interrupted"]; // and error, which may have another name

/** A stream that failed, was refused, or broke off and could not be continued. */
export class StreamError extends Error {
  constructor(message, fields = {}) {
    super(message);
    Object.assign(this, { name: "StreamError", status: null, title: "", detail: "", event: null }, fields);
  }

  /** From the text of a problem (RFC 9457), of an error of FastAPI, or of anything else. */
  static of(text, fields) {
    const problem = Object(parsed(text)), { title = problem.title ?? "", status = problem.status ?? null } = fields;
    let detail = problem.detail ?? problem.reason ?? (Object.keys(problem).length ? "" : text.slice(0, 300));
    if (Array.isArray(detail)) // of a validation error
      detail = detail.map((each) => [each?.loc?.slice(1).join("."), each?.msg].filter(Boolean).join(" ")).join("; ");
    if (typeof detail !== "string") detail = JSON.stringify(detail);
    const message = [[status, title].filter(Boolean).join(" "), detail].filter(Boolean).join(": ");
    return new StreamError(message || fields.event, { ...fields, title, status, detail, problem });
  }
}

const parsed = (text) => { try { return JSON.parse(text); } catch { return undefined; } };
const refusalOf = async (response) =>
  StreamError.of(await response.text().catch(() => ""), { status: response.status, title: response.statusText });

/** The items of a stream, to its end; see dual-mode.d.ts for the options. */
export function follow(url, options = {}) {
  const state = { location: null, lastEventId: options.lastEventId ?? "", end: null };
  const events = read(url, options, state);
  for (const name of Object.keys(state)) Object.defineProperty(events, name, { get: () => state[name] });
  return events;
}

/** Stop a recorded stream on the server; returns its state. `url` is its Location. */
export async function stop(url, { headers, fetch = globalThis.fetch, ...options } = {}) {
  const { origin, pathname } = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  const target = new URL(`${pathname.replace(/\/$/, "")}/cancel`, origin);
  headers = await valueOf(headers, { denied: false });
  const response = await fetch(target, { ...options, headers, method: "POST" });
  if (!response.ok) throw await refusalOf(response);
  return response.json();
}

async function* read(url, options, state) {
  const { signal, onReset, onOpen, onWait, fetch = globalThis.fetch, errorEvent = "error" } = options;
  const { attempts = 6, delay = 1000, maxWait = 30_000, readTimeout = 45_000 } = options; // milliseconds
  const renewable = [url, options.headers].some((source) => typeof source === "function");
  let failed = 0, retry = delay, denied = false, begun = false, items = 0;

  /** Wait for the next attempt; throws `error` if none may help, or the server asks for too long a wait. */
  async function again(error, mayHelp = true, asked = retry) {
    failed += 1;
    if (!mayHelp || failed >= attempts || asked > maxWait) throw error;
    const longer = Math.min(Math.max(asked, retry * 2 ** (failed - 1)), maxWait) * (1 + Math.random() / 4);
    await new Promise((resolve) => {
      const now = () => (clearTimeout(timer), signal?.removeEventListener("abort", now), resolve());
      const timer = setTimeout(now, longer);
      signal?.addEventListener("abort", now);
      onWait?.({ delay: longer, failed, error, now });
    });
  }
  async function reset(reason) {
    [state.lastEventId, items] = ["", 0];
    if (!onReset) throw new StreamError("the stream begins again; onReset is not given", { event: "reset" });
    await onReset(reason);
  }

  for (;;) {
    signal?.throwIfAborted();
    const control = new AbortController();
    const inTime = (promise) => { // a longer silence of the server is a cut
      const timer = setTimeout(() => control.abort(new StreamError("the server was silent")), readTimeout);
      return promise.finally(() => clearTimeout(timer));
    };
    const target = typeof url === "function" ? url : state.location ?? url;
    const sources = [valueOf(target, state.location), valueOf(options.headers, { denied })];
    const [given, missing] = await settled(Promise.all(sources));
    if (given === null) { // no network for a new token, perhaps
      await again(missing, missing instanceof TypeError || TEMPORARY.includes(missing?.status));
      continue;
    }
    const request = requestOf(given, options, state, control.signal);
    const isSafe = state.location !== null || request.method === "GET";
    const mayRepeat = isSafe || (!begun && request.headers.has("Idempotency-Key"));
    try {
      const [response, error] = await settled(inTime(fetch(request)));
      signal?.throwIfAborted();
      if (response === null) { // it may have arrived, and a second one could have a second effect
        await again(error, mayRepeat);
        continue;
      }
      if (response.status === 204) return void (state.end = "no-content");
      if (!response.ok) {
        const [refusal, asked] = [await inTime(refusalOf(response)), retryAfter(response)];
        const temporary = mayRepeat ? TEMPORARY : TEMPORARY.slice(0, asked === undefined ? 0 : 2);
        if (response.status === 401 && renewable && !denied) denied = true; // a new token, once
        else await again(refusal, temporary.includes(response.status), asked);
        continue;
      }
      const type = response.headers.get("Content-Type"), isStream = /^text\/event-stream\s*(;|$)/i.test(type);
      if (!isStream) throw new StreamError(`the answer is not a stream of events: ${type}`);
      state.location = resourceOf(response, request.url) ?? state.location;
      [begun, denied] = [true, false];
      await onOpen?.(response);
      const opened = Date.now();
      for await (const block of blocksOf(response.body, inTime)) {
        const { event = "message", data, id } = block;
        const isPast = id !== undefined && isNotNewer(id, state.lastEventId);
        retry = block.retry ?? retry;
        if (id !== undefined && !isPast) state.lastEventId = id;
        if (event === "reset" && data !== undefined) await reset(parsed(data));
        if (event === "reset" || data === undefined) continue;
        if ([errorEvent, ...ENDS].includes(event)) state.end = event;
        if (event === "done" || event === "cancelled") return;
        if (state.end !== null) throw StreamError.of(data, { event });
        if (isPast) continue;
        [failed, items] = [0, items + 1];
        yield { event, data, id: state.lastEventId };
      }
      signal?.throwIfAborted();
      if (Date.now() - opened >= maxWait) failed = 0; // it was open for long, and quiet
      if (!isSafe && state.location === null) throw new StreamError("the stream of a POST broke off without a Location");
      if (items && !state.lastEventId) await reset({ reason: "no_ids" }); // it can only begin again
      await again(new StreamError("the stream broke off"));
    } finally {
      control.abort(); // leaving the loop closes the connection
    }
  }
}

const valueOf = async (source, argument) => (typeof source === "function" ? source(argument) : source);
const settled = (promise) => promise.then((value) => [value], (error) => [null, error]);

/** The request to send now: the first one, or one that continues the stream. */
function requestOf([url, given], options, { location, lastEventId }, signal) {
  let { method, body } = options;
  const headers = new Headers(given);
  if (!headers.has("Accept")) headers.set("Accept", "text/event-stream");
  if (location !== null) {
    [method, body] = ["GET"];
    for (const name of ["Content-Type", "Idempotency-Key", "Prefer"]) headers.delete(name);
  }
  if (body instanceof ReadableStream) throw new TypeError("the body must be text or an object: it may be sent again");
  if (Array.isArray(body) || Object.prototype.toString.call(body) === "[object Object]") {
    body = JSON.stringify(body);
    if (!headers.has("Content-Type")) headers.set("Content-Type", "application/json");
  }
  if (lastEventId) headers.set("Last-Event-ID", lastEventId);
  method ??= body === undefined || body === null ? "GET" : "POST";
  if (options.signal) signal = AbortSignal.any([options.signal, signal]);
  return new Request(url, { cache: "no-store", ...options, method, body, headers, signal });
}

/** The Location of a recorded stream, if a script may read it and it is of the same origin. */
function resourceOf(response, requested) {
  const location = response.headers.get("Location"), base = new URL(response.url || requested);
  const resource = new URL(location ?? "", base);
  return location !== null && resource.origin === base.origin ? resource.href : null;
}

/** The milliseconds of Retry-After, which may be a date; or undefined. */
function retryAfter(response) {
  const value = response.headers.get("Retry-After") ?? "";
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

function isNotNewer(id, newest) {
  const [a, b] = [RECORDED.exec(id), RECORDED.exec(newest)];
  return a && b && a[1] === b[1] && (+a[2] - +b[2] || +a[3] - +b[3]) <= 0;
}

/** The blocks {event, data, id, retry} of a body (WHATWG HTML, section 9.2.6), to its end or its cut. */
async function* blocksOf(body, inTime) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", block = {}, afterCR = false;
  for (;;) {
    const { value } = await inTime(reader.read()).catch(() => ({}));
    if (value === undefined) return; // an incomplete block is discarded
    const text = afterCR && value[0] === "\n" ? value.slice(1) : value;
    afterCR = value.endsWith("\r");
    rest += text;
    const lines = /[\r\n]/.test(text) ? rest.split(/\r\n|\n|\r/) : [rest]; // a long line is split once
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") yield block;
      if (line === "") block = {};
      const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "data") block.data = block.data === undefined ? content : `${block.data}\n${content}`;
      if (field === "event") block.event = content || undefined;
      if (field === "id" && !content.includes("\0")) block.id = content;
      if (field === "retry" && /^\d+$/.test(content)) block.retry = Number(content);
    }
  }
}
