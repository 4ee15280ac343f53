"use strict";
// What all parts of the page share. Text from the service reaches the page by textContent alone.

const $ = (id) => document.getElementById(id);

/** The time in ms, to fractions, and comparable over a reload of the page. */
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

/** A random name that may be used where `crypto.randomUUID` is not: in pages without TLS. */
function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A failure as the service tells it: a title and a detail. */
class Failure extends Error {
  constructor(title, detail = "") {
    super(detail ? `${title}: ${detail}` : title);
    this.title = title;
    this.detail = detail;
  }

  /** Of a problem (RFC 9457), or of what FastAPI answers. */
  static of(problem, status = "") {
    const detail = problem?.detail;
    const text = Array.isArray(detail)
      ? detail.map((part) => `${part.loc?.slice(1).join(".")} ${part.msg}`.trim()).join("; ")
      : detail ?? "";
    return new Failure([status || problem?.status, problem?.title].filter(Boolean).join(" "), text);
  }

  static async ofResponse(response) {
    const status = `${response.status} ${response.statusText}`.trim();
    const text = await response.text();
    try {
      return Failure.of({...JSON.parse(text), title: undefined}, status);
    } catch {
      return new Failure(status, text.slice(0, 300));
    }
  }
}

function tellProblem(id, failure) {
  const box = $(id);
  box.hidden = !failure;
  if (failure) box.replaceChildren(element("b", {}, failure.title || "Failed"), " ", failure.detail ?? "");
}
