// Example 13 in Node: `useChat` without React, on a page that is reloaded in mid-answer.
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const [url] = process.argv.slice(2);
const transport = new DefaultChatTransport({ api: `${url}/api/chat` });
const words = (message) => message.parts.filter(({ type }) => type === "text").map(({ text }) => text).join("");
const shown = (messages) => messages.forEach((message) => console.log(`    ${message.role}: ${words(message)}`));

console.log("The page asks.");
const page = new Chat({ id: "tea", transport });
const asked = page.sendMessage({ text: "How is tea made?" });
while (page.messages[1] === undefined || words(page.messages[1]).split(" ").length < 4)
  await new Promise((resolve) => setTimeout(resolve, 5));
const seen = page.messages.slice(0, 2).map((message) => structuredClone(message));
seen[1].parts.find(({ type }) => type === "text").text = words(seen[1]).split(" ").slice(0, 3).join(" ");
shown(seen);
page.stop(); // as a reload does: it closes the connection, and the answer goes on
await asked;

console.log("The page is loaded again, with what it has saved, and resumes.");
const again = new Chat({ id: "tea", transport, messages: page.messages });
await again.resumeStream();
shown(again.messages);
console.log(`    status: ${again.status}, messages: ${again.messages.length}`);

console.log("It is loaded once more: nothing runs, so it shows what it has saved.");
const later = new Chat({ id: "tea", transport, messages: again.messages });
await later.resumeStream();
console.log(`    status: ${later.status}, messages: ${later.messages.length}`);
