// The page of example 13: a chat with `useChat` that is resumed after a reload, and stopped from any tab.
import { useChat } from "@ai-sdk/react";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const id = decodeURIComponent((location.hash ||= `#${crypto.randomUUID()}`).slice(1)); // the chat: the same in each tab
const read = () => JSON.parse(localStorage.getItem(id) ?? "[]");

function Page() {
  const [prompt, setPrompt] = useState("");
  const chat = useChat({ id, messages: read(), resume: true }); // POST /api/chat, GET /api/chat/{id}/stream
  const { messages, status, error } = chat;
  const runs = status === "submitted" || status === "streaming";
  const last = messages.at(-1);
  useEffect(() => { // of an answer that is not complete the server has more than the page
    const kept = status === "ready" || last?.role !== "assistant" ? messages : messages.slice(0, -1);
    localStorage.setItem(id, JSON.stringify(kept));
  }, [messages, status]);

  const send = (event) => {
    event.preventDefault();
    chat.sendMessage({ text: prompt });
    setPrompt("");
  };
  return (
    <main>
      {messages.map(({ id, role, parts }) => (
        <p key={id} className={role}>
          {parts.map((part, number) => part.type === "text" && <span key={number}>{part.text}</span>)}
        </p>
      ))}
      {error && <p className="error">{error.message}</p>}
      {status === "ready" && last?.role === "user" && <p className="error">This was not answered.</p>}
      <footer>
        <output>{status}</output>
        {runs && <button onClick={() => fetch(`/api/chat/${encodeURIComponent(id)}/stop`, { method: "POST" })}>Stop</button>}
        {error && <button onClick={() => chat.resumeStream()}>Go on</button>}
        {!runs && last && <button onClick={() => chat.regenerate()}>Answer again</button>}
      </footer>
      <form onSubmit={send}>
        <input value={prompt} onChange={({ target }) => setPrompt(target.value)} placeholder="Ask something" />
        <button disabled={runs || !prompt}>Send</button>
      </form>
    </main>
  );
}

createRoot(document.getElementById("page")).render(<Page />);
