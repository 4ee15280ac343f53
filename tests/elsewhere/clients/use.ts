// What four generators made of the document, with their types: /data at once, and as a stream.
import createClient from "openapi-fetch";
import { follow } from "dual-mode-streaming";
import type { components, paths } from "./types";
import { dataDataGet as byHey } from "./hey";
import { client as heyClient } from "./hey/client.gen";
import { dataDataGet as byOrval } from "./orval";
import { Configuration, DefaultApi } from "./generator";

type Item = components["schemas"]["Item"];
type Frame = paths["/data"]["get"]["responses"][200]["content"]["text/event-stream"];
type Line = paths["/data"]["get"]["responses"][200]["content"]["application/jsonl"];

const [service] = process.argv.slice(2);
const query = { count: 3, interval: 0 };
const out: Record<string, Item[]> = {};

const fetching = createClient<paths, "application/json">({ baseUrl: service });
const whole = await fetching.GET("/data", { params: { query } });
out["openapi-fetch"] = whole.data!.data;

out.follow = [];
for await (const { data } of follow(`${service}/data?count=3&interval=0`)) {
  const item: Line = JSON.parse(data);
  out.follow.push(item);
}

// The stream itself, by openapi-fetch: JSON Lines, then frames with the type of the document.
const reading = createClient<paths, "application/jsonl">({ baseUrl: service });
const lines = await reading.GET("/data", {
  params: { query }, parseAs: "text", headers: { Accept: "application/jsonl" },
});
out["openapi-fetch, lines"] = String(lines.data).trim().split("\n").map((line): Line => JSON.parse(line));
const frame = { event: "done", data: "{}" } as Frame;
if (frame.event === "reset") throw new Error(frame.data);

heyClient.setConfig({ baseUrl: service });
out.hey = (await byHey({ query, throwOnError: true })).data!.data;
const stream = await byHey({ query, parseAs: "stream", headers: { Accept: "text/event-stream" } });
let text = "";
const decoder = new TextDecoder();
for await (const part of stream.data as unknown as AsyncIterable<Uint8Array>) text += decoder.decode(part);
out["hey, stream"] = [...text.matchAll(/^data: (.*"index".*)$/gm)].map(([, data]): Item => JSON.parse(data!));

const orval = await byOrval(query);
if (orval.status === 200 && "data" in (orval.data as object)) out.orval = (orval.data as { data: Item[] }).data;

const generated = new DefaultApi(new Configuration({ basePath: service }));
out.generator = (await generated.dataDataGet(query))!.data;

console.log(JSON.stringify(out));
