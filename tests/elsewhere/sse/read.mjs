// Reads lists of events with three packages. In: [{wire, names}] as JSON. Out: the events by package.
import { readFileSync } from "node:fs";
import { createParser } from "eventsource-parser";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";

const lists = JSON.parse(readFileSync(0, "utf-8"));
const END = "event: the-end\ndata: x\n\n";

const answer = (wire) => async () => {
  const bytes = new TextEncoder().encode(wire + END);
  const body = new ReadableStream({
    start(controller) {
      for (let n = 0; n < bytes.length; n += 7) controller.enqueue(bytes.slice(n, n + 7));
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
};

function parsed({ wire }) {
  const events = [];
  let id = ""; // the parser gives the id of the block alone
  const parser = createParser({
    onEvent(event) {
      id = event.id ?? id;
      events.push([event.data, event.event ?? null, id]);
    },
  });
  for (const character of wire) parser.feed(character);
  return events;
}

const source = ({ wire, names }) =>
  new Promise((resolve, reject) => {
    const events = [];
    const source = new EventSource("http://host/", { fetch: answer(wire) });
    const take = (event) => {
      const name = event.type === "message" ? null : event.type;
      events.push([event.data, name, event.lastEventId]);
    };
    for (const name of ["message", ...names]) source.addEventListener(name, take);
    source.addEventListener("error", reject);
    source.addEventListener("the-end", () => {
      source.close();
      resolve(events);
    });
  });

async function client({ wire }) {
  const events = [];
  const source = createEventSource({ url: "http://host/", fetch: answer(wire) });
  let id = "";
  for await (const event of source) {
    if (event.event === "the-end") break;
    id = event.id ?? id;
    events.push([event.data, event.event ?? null, id]);
  }
  source.close();
  return events;
}

const read = { "eventsource-parser": parsed, eventsource: source, "eventsource-client": client };
const out = {};
for (const [name, each] of Object.entries(read)) {
  out[name] = [];
  for (const list of lists) out[name].push(await each(list));
}
process.stdout.write(JSON.stringify(out), () => process.exit(0));
