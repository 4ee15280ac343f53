"use strict";
// What went over the wire of the stream, frame by frame; and the same request for a terminal.

const FRAMES = 500; // as many are shown; older ones go

const frames = {
  started: 0,

  clear(started) {
    this.started = started;
    $("frames").replaceChildren();
  },

  /** A frame as it came. */
  frame({event = "", id = "", data, retry, comment, bytes}) {
    const text = data ?? (comment !== undefined ? `: ${comment}` : `retry: ${retry ?? ""}`);
    const name = comment !== undefined ? "(comment)" : event || "message";
    this.row(event ? `named ${event}` : "", this.time(), id, name, bytes, text);
  },

  /** What happened to the connection. */
  note(text) {
    const cell = element("td", {colspan: 4}, text);
    this.add(element("tr", {class: "note"}, element("td", {}, this.time()), cell));
  },

  row(kind, ...cells) {
    this.add(element("tr", kind ? {class: kind} : {}, ...cells.map((text) => element("td", {}, String(text)))));
  },

  time() {
    return (now() - this.started).toFixed(0);
  },

  add(row) {
    const body = $("frames"), pane = $("frames-pane");
    const atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
    body.append(row);
    if (body.rows.length > FRAMES) body.deleteRow(0);
    if (atEnd) pane.scrollTop = pane.scrollHeight; // whoever has scrolled back stays there
  },
};

/** A command line for a POSIX shell that makes the same request. */
function asCurl(path, {method = "GET", headers = {}, body} = {}) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = ["curl", "-N", quoted(new URL(path, location.href).href)];
  if (method !== "GET" && body === undefined) parts.push("-X", method);
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (body !== undefined) parts.push("--data-raw", quoted(body));
  return parts.join(" ");
}

/** Copied where the browser lets us; shown, to be copied by hand, where it does not. */
async function copyLine(line) {
  $("curl").hidden = false;
  show("curl", line);
  try {
    await navigator.clipboard.writeText(line);
    show("copied", "Copied");
  } catch {
    show("copied", "Copy it from here");
    getSelection().selectAllChildren($("curl"));
  }
}
