// The AI SDK of Vercel, with three of its providers.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const [url, questions] = process.argv.slice(2);
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const inputSchema = jsonSchema(CITY);
const asks = tool({ inputSchema });
const runs = tool({ inputSchema, execute: async () => "sunny at noon" });
const TOOLS = { weather: asks, time: asks };
const RUN = { weather: runs, time: runs };

function ways(model) {
  const asked = (prompt) => ({ model, prompt, tools: TOOLS, maxRetries: 0, maxOutputTokens: 1000 });
  const seen = (text, thinking, calls, usage, reason) => ({
    text,
    thinking,
    calls: calls.map((call) => [call.toolName, call.input]),
    usage: [usage.inputTokens, usage.outputTokens],
    reason,
  });
  return {
    async batch(question) {
      const whole = await generateText(asked(question));
      return seen(
        whole.text,
        whole.reasoningText ?? "",
        whole.toolCalls,
        whole.usage,
        whole.finishReason,
      );
    },
    async stream(question) {
      const answer = streamText({ ...asked(question), onError() {} });
      let text = "";
      let thinking = "";
      const calls = [];
      for await (const part of answer.fullStream) {
        if (part.type === "error") throw part.error;
        if (part.type === "text-delta") text += part.text;
        if (part.type === "reasoning-delta") thinking += part.text;
        if (part.type === "tool-call") calls.push(part);
      }
      return seen(text, thinking, calls, await answer.usage, await answer.finishReason);
    },
    async round(question) {
      const until = stepCountIs(3);
      return (await generateText({ ...asked(question), tools: RUN, stopWhen: until })).text;
    },
  };
}

async function ask(way, question) {
  try {
    return await way(question);
  } catch (error) {
    return { error: error.name, status: error.statusCode ?? null, message: error.message };
  }
}

const keyed = { apiKey: "k", baseURL: `${url}/v1` };
const compatible = createOpenAICompatible({ name: "ours", includeUsage: true, ...keyed });
const faces = {
  openai: ways(createOpenAI(keyed).chat("simulator")),
  compatible: ways(compatible("simulator")),
  anthropic: ways(createAnthropic(keyed)("simulator")),
};
const told = {};
for (const [face, way] of Object.entries(faces)) {
  told[face] = { round: await way.round("two calls") };
  for (const [question, modes] of Object.entries(JSON.parse(questions))) {
    told[face][question] = {};
    for (const mode of modes) told[face][question][mode] = await ask(way[mode], question);
  }
}
console.log(JSON.stringify(told));
