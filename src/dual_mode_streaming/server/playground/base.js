// Helpers of all parts of the page. Text from the service is only ever set as textContent.

const $ = (id) => document.getElementById(id);

/** The time in milliseconds, with fractions; comparable across reloads. */
const now = () => performance.timeOrigin + performance.now();

function show(id, value) {
  const text = String(value), node = $(id);
  if (node.textContent !== text) node.textContent = text;
}

function element(tag, attributes = {}, ...children) {
  const node = tag === "svg" || tag === "polyline" || tag === "polygon"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const milliseconds = (value) =>
  value === undefined || value === null ? "–" : `${Math.round(value)} ms`;

/** A random name; `crypto.randomUUID` is not available in pages without TLS. */
function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The headers with the API key of the user; the field for it appears when the service asks for a key. */
const credentials = () => ($("key").value ? {Authorization: `Bearer ${$("key").value}`} : {});

function askForKey(failure) {
  if (failure?.status === 401) $("key-label").hidden = false;
}

function showProblem(id, failure) {
  const box = $(id);
  askForKey(failure);
  box.hidden = !failure;
  if (!failure) return;
  const title = [failure.status, failure.title].filter(Boolean).join(" ");
  box.replaceChildren(element("b", {}, title || "Failed"), " ", failure.detail || (title ? "" : failure.message));
}

/** A line that counts down a wait of `follow`; `text` is empty while there is none. */
class Countdown {
  constructor(changed) {
    Object.assign(this, {changed, text: "", timer: 0, hurry: () => {}});
  }

  begin({delay, failed, error, now: hurry}) {
    this.end();
    this.hurry = hurry;
    const why = error.status ? `Refused for now (${error.status})` : error.message, until = now() + delay;
    const tick = () => {
      this.text = `${why}. Try ${failed + 1} of 6 in ${(Math.max(0, until - now()) / 1000).toFixed(1)} s`;
      this.changed();
    };
    this.timer = setInterval(tick, 100);
    tick();
  }

  end() {
    clearInterval(this.timer);
    this.text = "";
    this.changed();
  }
}
