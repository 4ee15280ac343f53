"use strict";
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

/** A failure with the title and the detail that the service sent. */
class Failure extends Error {
  constructor(title, detail = "") {
    super(detail ? `${title}: ${detail}` : title);
    this.title = title;
    this.detail = detail;
  }

  /** From a problem (RFC 9457), or from a validation error of FastAPI. */
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

function showProblem(id, failure) {
  const box = $(id);
  box.hidden = !failure;
  if (failure) box.replaceChildren(element("b", {}, failure.title || "Failed"), " ", failure.detail ?? "");
}
