// Follows streams for the tests: a job a line in, its result a line out. The first argument is the module.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { follow, stop, StreamError } = await import(pathToFileURL(process.argv[2]));

async function run({ url, stopAt, abortAt, breakAt, resets: takesResets = true, tokens, urls, ...options }) {
  const result = { items: [], resets: [], waits: [], opened: [], asked: [] };
  const control = new AbortController();
  if (takesResets) options.onReset = (why) => result.resets.push(why);
  if (tokens) options.headers = async ({ denied }) => {
    result.asked.push(denied);
    return { Authorization: `Bearer ${tokens.shift()}` };
  };
  options.onOpen = (response) => result.opened.push(response.status);
  options.onWait = ({ delay, failed, error, now }) => {
    result.waits.push([delay, failed, error.message]);
    if (options.hurry) now();
    if (abortAt === "wait") control.abort(new Error("left"));
  };
  const next = (location) => {
    result.asked.push(location);
    const [, thrown] = /^throw (.*)/.exec(urls[0]) ?? [];
    if (thrown === undefined) return urls.shift();
    urls.shift();
    if (Number(thrown)) throw new StreamError("no token", { status: Number(thrown) });
    throw new globalThis[thrown]("no token");
  };
  const source = urls ? next : url;
  const stream = follow(source, { delay: 1, signal: control.signal, ...options });
  try {
    for await (const event of stream) {
      result.items.push([event.event, event.data, event.id]);
      if (result.items.length === stopAt) result.stopped = await stop(stream.location, { headers: options.headers });
      if (result.items.length === abortAt) setTimeout(() => control.abort(new Error("left")));
      if (result.items.length === breakAt) break;
    }
  } catch (error) {
    const { name, message, status, event, title, detail, problem } = error;
    result.error = { name, message, status, event, title, detail, problem };
  }
  const { location, lastEventId, end } = stream;
  return { ...result, location, lastEventId, end };
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line)))}\n`);
