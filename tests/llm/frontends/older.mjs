// The transports of AI SDK 5 and 6 against the service: `node older.mjs URL OTHER` prints what they read.
const [url, other] = process.argv.slice(2) // two workers on one store

async function read(library, stream) {
  let message = null
  const errors = []
  const onError = (error) => errors.push(error.message)
  for await (const now of library.readUIMessageStream({ stream, onError })) message = now
  return { errors, id: message?.id, parts: message?.parts ?? [] }
}

const result = {}
for (const name of ['ai5', 'ai6']) {
  const library = await import(name)
  const at = (service) => new library.DefaultChatTransport({ api: `${service}/ui/chat` })
  const ask = (chatId, text) =>
    at(url).sendMessages({
      chatId,
      trigger: 'submit-message',
      messages: [{ id: 'question', role: 'user', parts: [{ type: 'text', text }] }],
    })
  const ends = {}
  for (const text of ['short', 'weather', 'breaks']) ends[text] = await read(library, await ask(`${name}-${text}`, text))
  const [first, again] = (await ask(`${name}-long`, 'long')).tee()
  await first.getReader().read()
  const joined = await at(other).reconnectToStream({ chatId: `${name}-long` })
  ends.long = await read(library, again)
  ends.joined = await read(library, joined)
  ends.later = await at(other).reconnectToStream({ chatId: `${name}-long` })
  result[name] = ends
}
console.log(JSON.stringify(result))
