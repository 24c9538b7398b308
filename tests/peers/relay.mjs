// A relay not written here, @nostr-relay/core, on a port of 127.0.0.1: `node relay.mjs <port, or 0>`.
// It prints `listening <port>`, keeps events in memory, and ends when its stdin does.
// What surprises about it is its own: see NpmRelay in tests/peer_relays.py.
import {EventRepository, EventType, EventUtils, LogLevel} from '@nostr-relay/common'
import {NostrRelay} from '@nostr-relay/core'
import {Validator} from '@nostr-relay/validator'
import {WebSocketServer} from 'ws'

const MAX_FRAME_BYTES = 131_072

// The library's own repository is SQLite, compiled at install; tests want neither.
class MemoryRepository extends EventRepository {
  #events = new Map()

  isSearchSupported() {
    return false
  }

  upsert(event) {
    const key = keyOf(event)
    const old = this.#events.get(key)
    if (old && (old.id === event.id || old.created_at > event.created_at)) return {isDuplicate: true}
    this.#events.set(key, event)
    return {isDuplicate: false}
  }

  find(filter) {
    return [...this.#events.values()]
      .filter(event => EventUtils.isMatchingFilter(event, filter) && hasTags(event, filter))
      .sort((a, b) => b.created_at - a.created_at || (a.id < b.id ? -1 : 1))
      .slice(0, filter.limit ?? 1_000)
  }

  async destroy() {
    this.#events.clear()
  }
}

// NIP-01: of a replaceable event only the newest is kept.
function keyOf(event) {
  switch (EventUtils.getType(event.kind)) {
    case EventType.REPLACEABLE:
    case EventType.PARAMETERIZED_REPLACEABLE:
      return `${event.kind}:${event.pubkey}:${EventUtils.extractDTagValue(event)}`
    default:
      return event.id
  }
}

function hasTags(event, filter) {
  return Object.entries(filter)
    .filter(([name]) => /^#[a-zA-Z]$/.test(name))
    .every(([name, wanted]) => event.tags.some(([tag, value]) => `#${tag}` === name && wanted.includes(value)))
}

// The cache of query results is off: for a second it would hide an event from whoever asks the same again.
const relay = new NostrRelay(new MemoryRepository(), {logLevel: LogLevel.ERROR, filterResultCacheTtl: 0})
const validator = new Validator()
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2] ?? 0),
  maxPayload: MAX_FRAME_BYTES,
})

server.on('connection', (socket, request) => {
  relay.handleConnection(socket, request.socket.remoteAddress)
  socket.on('message', async data => {
    try {
      await relay.handleMessage(socket, await validator.validateIncomingMessage(data))
    } catch (error) {
      socket.send(JSON.stringify(['NOTICE', error.message]))
    }
  })
  socket.on('close', () => relay.handleDisconnect(socket))
  socket.on('error', () => socket.terminate())
})
server.on('listening', () => console.log(`listening ${server.address().port}`))
server.on('error', error => {
  console.error(`the relay cannot listen: ${error.message}`)
  process.exit(1)
})
process.stdin.on('end', () => process.exit(0)).resume()
