// Reads a stream with the npm library eventsource and writes each event of the given types as one line of JSON.
// Usage: [TOKEN=…] node eventsource.mjs URL TYPE…
import { EventSource } from 'eventsource'

const [url, ...types] = process.argv.slice(2)
const token = process.env.TOKEN
const write = (event) => process.stdout.write(JSON.stringify(event) + '\n')

const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, token ? { ...init, headers: { ...init.headers, Authorization: `Service ${token}` } } : init),
})
source.addEventListener('open', () => write({ type: 'open' }))
source.addEventListener('error', (error) => {
  process.stderr.write(`${error.code ?? ''} ${error.message ?? ''}\n`)
  if (source.readyState === EventSource.CLOSED) process.exit(1) // The hub refused: it does not connect again.
})
for (const type of types) {
  source.addEventListener(type, (event) => write({ type: event.type, id: event.lastEventId, data: event.data }))
}
