// The frames of the stream as they arrived, and the request as a curl command.

const FRAMES = 500; // the number of frames that stay visible

const frames = {
  started: 0,

  clear(started) {
    this.started = started;
    $("frames").replaceChildren();
  },

  /** Show a frame as it came; returns its id and its length in bytes. */
  frame(text) {
    const field = (name) => (text.match(RegExp(`^${name}: ?.*`, "gm")) ?? []).map((line) => line.replace(/^\w+: ?/, "")).join("\n");
    const [id, event, data] = ["id", "event", "data"].map(field);
    const bytes = new TextEncoder().encode(text).length;
    const name = event || (data ? "message" : text.startsWith(":") ? "(comment)" : "");
    this.row(event ? `named ${event}` : "", this.time(), id, name, bytes, data || text.trim());
    return {id, bytes};
  },

  /** Show an event of the connection. */
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
    if (atEnd) pane.scrollTop = pane.scrollHeight; // unless the user has scrolled back
  },
};

/** The command line for a POSIX shell that sends the same request. */
function asCurl(path, {method = "GET", headers = {}, body} = {}) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = ["curl", "-N", quoted(new URL(path, location.href).href)];
  if (method !== "GET" && body === undefined) parts.push("-X", method);
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (body !== undefined) parts.push("--data-raw", quoted(body));
  return parts.join(" ");
}

/** Copy the line, or select it for the user if the browser does not permit that. */
async function copyLine(line) {
  $("curl").hidden = false;
  show("curl", line);
  try {
    await navigator.clipboard.writeText(line);
    show("copied", "Copied");
  } catch {
    show("copied", "Copy the selected text");
    getSelection().selectAllChildren($("curl"));
  }
}
