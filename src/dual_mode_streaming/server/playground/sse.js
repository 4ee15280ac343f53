"use strict";
// Server-Sent Events from the body of a fetch: as EventSource reads them, but also for POST.

/** Yields {event, id, retry, data, comment, bytes}; missing fields are undefined. */
async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const encoder = new TextEncoder();
  let rest = "", raw = "", frame = {};
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return; // an incomplete frame is discarded (WHATWG)
      rest += value;
      let used = 0;
      // A CR at the end may be the first half of CR LF: it waits for the next chunk.
      for (const [whole, line] of rest.matchAll(/([^\r\n]*)(?:\r\n|\n|\r(?!$))/g)) {
        used += whole.length;
        if (line.startsWith(":")) {
          yield {comment: line.slice(1).trim(), bytes: encoder.encode(whole).length};
          continue;
        }
        raw += whole;
        if (line === "") {
          if (Object.keys(frame).length) yield {...frame, bytes: encoder.encode(raw).length};
          [raw, frame] = ["", {}];
          continue;
        }
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === "data") frame.data = frame.data === undefined ? text : `${frame.data}\n${text}`;
        else if (field === "event") frame.event = text;
        else if (field === "id" && !text.includes("\0")) frame.id = text;
        else if (field === "retry" && /^\d+$/.test(text)) frame.retry = Number(text);
      }
      rest = rest.slice(used);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
