"use strict";
const $ = (id) => document.getElementById(id);
const encoder = new TextEncoder();
let running = null;

// Server-Sent Events from a fetch body: what EventSource does, and for POST as well.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", event = {data: []}, bytes = 0;
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      bytes += encoder.encode(line).length + 1;
      if (line === "") {
        if (event.data.length) yield {...event, data: event.data.join("\n"), bytes};
        event = {data: []}; bytes = 0;
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data") event.data.push(text);
      else if (field === "event" || field === "id") event[field] = text;
      else if (field === "") bytes = 0;
    }
  }
}

const url = () => `/data?count=${$("count").value}&interval=${$("interval").value}`;
const ms = (since) => performance.now() - since;
const show = (id, value) => { $(id).textContent = value; };

function draw(times) {
  const longest = Math.max(1, ...Object.values(times).flatMap((t) => [t.first || 0, t.total || 0]));
  for (const [mode, t] of Object.entries(times)) {
    for (const part of ["first", "total"]) {
      $(`${mode}-${part}`).style.width = `${100 * (t[part] || 0) / longest}%`;
      show(`${mode}-${part}-ms`, t[part] === undefined ? "–" : `${t[part].toFixed(0)} ms`);
    }
  }
}

async function run() {
  if (running) running.abort();
  const control = running = new AbortController();
  const times = {batch: {}, stream: {}}, start = performance.now();
  show("batch-body", ""); $("frames").replaceChildren();
  for (const mode of ["batch", "stream"]) show(`${mode}-items`, "–");
  draw(times);
  // "no-store": for the cache, one URL is one answer, and the browser would make the second wait.
  const ask = (accept) => fetch(url(), {headers: {Accept: accept}, signal: control.signal, cache: "no-store"});
  const batch = async () => {
    const response = await ask("application/json");
    const body = await response.json();
    if (!response.ok) throw new Error(body.detail ? JSON.stringify(body.detail) : response.status);
    times.batch = {first: ms(start), total: ms(start)};
    show("batch-items", body.data.length);
    show("batch-body", JSON.stringify(body, null, 1).slice(0, 20000));
    draw(times);
  };
  const stream = async () => {
    const response = await ask("text/event-stream");
    if (!response.ok) throw new Error(response.status);
    let items = 0;
    for await (const event of events(response)) {
      const row = $("frames").insertRow();
      for (const cell of [ms(start).toFixed(0), event.event || "", event.id || "", event.data, event.bytes])
        row.insertCell().textContent = cell;
      if ($("frames").rows.length > 500) $("frames").deleteRow(0);
      row.scrollIntoView({block: "nearest"});
      if (event.event === "error") throw new Error(JSON.parse(event.data).detail);
      if (event.event !== "done") { items += 1; times.stream.first ??= ms(start); show("stream-items", items); }
      times.stream.total = ms(start);
      draw(times);
    }
  };
  show("said", "");
  const results = await Promise.allSettled([batch(), stream()]);
  const failed = results.find((r) => r.status === "rejected");
  if (running === control) {
    show("said", control.signal.aborted ? "disconnected" : failed ? `failed: ${failed.reason.message}` : "done");
    running = null;
  }
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); run(); });
$("stop").addEventListener("click", () => running && running.abort());
$("copy").addEventListener("click", async () => {
  const line = `curl -N -H 'Accept: text/event-stream' '${location.origin}${url()}'`;
  try { await navigator.clipboard.writeText(line); show("said", "copied"); } catch { show("said", line); }
});

// The live feed: a plain EventSource, which reconnects by itself.
const CHARTS = [
  ["cpu_percent", "CPU", (v) => `${v.toFixed(0)} %`, 100],
  ["memory_percent", "Memory", (v) => `${v.toFixed(0)} %`, 100],
  ["load", "Load", (v) => v.toFixed(2), 0],
  ["network_received_bytes_per_second", "Received", (v) => `${(v / 1024).toFixed(1)} kB/s`, 0],
];
const series = CHARTS.map(([key, name, format, top]) => {
  const figure = document.createElement("figure");
  const parsed = new DOMParser().parseFromString(`<figcaption><span></span><b></b></figcaption><svg viewBox="0 0 60 100" preserveAspectRatio="none" role="img"><polyline/></svg>`, "text/html");
  figure.append(...parsed.body.childNodes);
  figure.querySelector("span").textContent = name;
  figure.querySelector("svg").setAttribute("aria-label", name);
  $("charts").append(figure);
  return {key, format, top, values: [], line: figure.querySelector("polyline"), text: figure.querySelector("b")};
});
let feed = null, seen = 0;
function connect() {
  feed = new EventSource("/events");
  show("feed-state", "connecting");
  feed.onopen = () => show("feed-state", "open");
  feed.onerror = () => {
    show("feed-state", feed.readyState === EventSource.CLOSED ? "refused" : "reconnecting");
    if (feed.readyState === EventSource.CLOSED) setTimeout(() => feed && connect(), 3000);
  };
  feed.onmessage = (event) => {
    const sample = JSON.parse(event.data);
    sample.load = sample.load_average[0];
    show("feed-events", seen += 1);
    for (const s of series) {
      s.values = [...s.values, sample[s.key]].slice(-61);
      const top = s.top || Math.max(1e-9, ...s.values) * 1.2;
      s.line.setAttribute("points", s.values.map((v, i) => `${60 - s.values.length + 1 + i},${98 - 96 * v / top}`).join(" "));
      s.text.textContent = s.format(sample[s.key]);
    }
  };
}
$("feed-toggle").addEventListener("click", (event) => {
  if (feed) { feed.close(); feed = null; show("feed-state", "paused"); } else connect();
  event.target.textContent = feed ? "Pause" : "Resume";
});
connect();
run();
