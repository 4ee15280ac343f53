// Front ends in Node against the service: `node ask.mjs URL` prints what each of them ended with.
import { HttpAgent } from '@ag-ui/client'
import { Chat } from '@ai-sdk/react'
import { fetchServerSentEvents } from '@tanstack/ai-client'
import { DefaultChatTransport } from 'ai'

const url = process.argv[2]
const other = process.argv[3] ?? url // another worker on the same store

/** A chat as `useChat` has it, and how it ended. */
function chatOf(id, service = url, messages = []) {
  const transport = new DefaultChatTransport({ api: `${service}/ui/chat` })
  const chat = new Chat({
    id,
    transport,
    messages,
    onFinish: ({ isAbort, isDisconnect, isError }) => {
      chat.ended = { isAbort, isDisconnect, isError }
    },
  })
  return chat
}

/** What a user sees of a chat. */
function seen(chat) {
  return {
    status: chat.status,
    error: chat.error?.message ?? null,
    ...chat.ended,
    messages: chat.messages.map(({ id, role, parts, metadata }) => ({
      id,
      role,
      tokens: metadata?.usage?.totalTokens ?? null,
      parts: parts.map(({ type, text, state, input }) => ({ type, text, state, input })),
    })),
  }
}

/** Wait until a chat has some text of the answer. */
async function someText(chat) {
  const words = () => {
    const last = chat.messages.at(-1)
    return last?.role === 'assistant' && last.parts.some(({ type, text }) => type === 'text' && text.includes(' '))
  }
  while (!words()) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function answered(id, text) {
  const chat = chatOf(id)
  await chat.sendMessage({ text })
  return seen(chat)
}

async function reloaded() {
  const chat = chatOf('reloaded')
  const sent = chat.sendMessage({ text: 'long' })
  await someText(chat)
  const page = chatOf('reloaded', other, chat.messages.slice(0, 1)) // the new page knows the question
  await page.resumeStream()
  await sent
  const later = chatOf('reloaded', other, chat.messages)
  await later.resumeStream() // nothing runs any more
  return { chat: seen(chat), page: seen(page), later: seen(later) }
}

async function stopped() {
  const chat = chatOf('stopped')
  const sent = chat.sendMessage({ text: 'long' })
  await someText(chat)
  const answer = await fetch(`${other}/ui/chat/stopped/stop`, { method: 'POST' })
  const { stopped } = await answer.json()
  await sent
  const text = chat.messages.at(-1).parts.find(({ type }) => type === 'text').text
  await chat.sendMessage({ text: 'short' })
  return { stopped, words: text.split(' ').length, chat: seen(chat) }
}

async function regenerated() {
  const chat = chatOf('again')
  await chat.sendMessage({ text: 'short' })
  const first = chat.messages.at(-1).id
  await chat.regenerate()
  return { first, chat: seen(chat) }
}

async function agui(content) {
  const agent = new HttpAgent({ url: `${url}/agui`, threadId: 't' })
  agent.messages = [{ id: 'u1', role: 'user', content }]
  const events = []
  let error = null
  try {
    await agent.runAgent({ runId: `run-${content}` }, { onEvent: ({ event }) => { events.push(event.type) } })
  } catch (failure) {
    error = failure.message
  }
  return { events: [...new Set(events)], error, messages: agent.messages.slice(1) }
}

async function aguiStopped() {
  const agent = new HttpAgent({ url: `${url}/agui`, threadId: 't' })
  agent.messages = [{ id: 'u1', role: 'user', content: 'long' }]
  let outcome, stop
  const onTextMessageContentEvent = () => {
    stop ??= fetch(`${other}/agui/run-stopped/stop`, { method: 'POST' }).then((answer) => answer.json())
  }
  const onRunFinishedEvent = (finished) => { outcome = finished.outcome }
  await agent.runAgent({ runId: 'run-stopped' }, { onTextMessageContentEvent, onRunFinishedEvent })
  return { outcome, ...(await stop) }
}

async function tanstack() {
  const posts = []
  /** Cuts the first answer after some of it. */
  const fetchClient = async (input, init) => {
    posts.push({ method: init.method, after: new Headers(init.headers).get('last-event-id') })
    const response = await fetch(input, init)
    if (posts.length > 1) return response
    const reader = response.body.getReader()
    let reads = 0
    const body = new ReadableStream({
      async pull(controller) {
        if (reads++ === 4) return controller.error(new Error('cut'))
        controller.enqueue((await reader.read()).value)
      },
    })
    return new Response(body, { headers: response.headers })
  }
  const connection = fetchServerSentEvents(`${url}/agui`, { fetchClient })
  const messages = [{ id: 'u1', role: 'user', content: 'long', parts: [{ type: 'text', content: 'long' }] }]
  const text = async (chunks) => {
    let whole = ''
    let last
    for await (const chunk of chunks) {
      whole += chunk.type === 'TEXT_MESSAGE_CONTENT' ? chunk.delta : ''
      last = chunk.type
    }
    return { whole, last }
  }
  const connected = text(connection.connect(messages, {}, undefined, { runId: 'tan', threadId: 't' }))
  const got = await connected
  const joined = await text(fetchServerSentEvents(`${other}/agui`).joinRun('tan'))
  return { got, joined, posts }
}

const document = {
  short: await answered('short', 'short'),
  weather: await answered('weather', 'weather'),
  limited: await answered('limited', 'limited'),
  breaks: await answered('breaks', 'breaks'),
  reloaded: await reloaded(),
  stopped: await stopped(),
  regenerated: await regenerated(),
  agui: { short: await agui('short'), weather: await agui('weather'), breaks: await agui('breaks') },
  aguiLimited: await agui('limited'),
  aguiStopped: await aguiStopped(),
  tanstack: await tanstack(),
}
console.log(JSON.stringify(document))
