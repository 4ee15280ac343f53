// Example 14: an AG-UI client, which shows the state of the agent, and answers what it asks.
import { HttpAgent } from "@ag-ui/client";

const [url] = process.argv.slice(2);
const agent = new HttpAgent({ url: `${url}/agui`, threadId: "tea" });
agent.messages = [{ id: "u1", role: "user", content: "Make tea for two." }];
const shown = {
  onEvent: ({ event: { type } }) => {
    if (/^(RUN|STATE)_/.test(type)) console.log(`    ${type}`);
  },
  onStateChanged: ({ state }) => console.log(`        the page shows ${JSON.stringify(state)}`),
  onTextMessageEndEvent: ({ textMessageBuffer }) => console.log(`        the agent says ${textMessageBuffer}`),
  onRunFinishedEvent: ({ outcome, interrupts }) =>
    console.log(`        outcome: ${outcome}${(interrupts ?? []).map(({ message }) => `, ${message}`)}`),
};

console.log("The first run:");
await agent.runAgent({ runId: "run-1" }, shown);
const [{ id }] = agent.pendingInterrupts;
console.log("The user says yes, which begins a second run:");
const answer = { interruptId: id, status: "resolved", payload: { yes: true } };
await agent.runAgent({ runId: "run-2", resume: [answer] }, shown);
console.log(`The page has ${agent.messages.length} messages, and the state ${JSON.stringify(agent.state)}`);
