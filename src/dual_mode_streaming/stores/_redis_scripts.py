"""What `RedisStore` does within Redis: scripts in Lua, each atomic, by the clock of Redis.

Those of a stream have its two keys, which share the hash tag `{id}`: its metadata, a hash, and its
entries, a Redis stream whose ids are `<sequence>-0`. They alone decide how it is with a stream.
Those of the index have six keys with a tag of their own. The index is advice: it bounds the store
and finds abandoned streams and claims, and is put right wherever it is found wrong.

All times are milliseconds. While a stream runs, `lease` is when its lease ends, and afterwards when
it ended; the entries expire one `retention` later, and the metadata after one more.
"""

__all__ = [
    "APPEND",
    "CANCEL",
    "CLAIMED",
    "DUE",
    "ENTER",
    "FORGET",
    "MAKE",
    "NOTE",
    "READ",
    "STATUS",
    "TAKE_OVER",
]

READERS = ("READ", "STATUS")
"""Those that change nothing."""

_COMMON = """
local function text(number) return string.format('%.0f', number) end
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local meta, data = KEYS[1], KEYS[2]
local function expire(since, retention)
  redis.call('PEXPIREAT', data, text(since + retention))
  redis.call('PEXPIREAT', meta, text(since + 2 * retention))
end
"""

# lease, retention, operation, owner, fingerprint, request -> when the lease ends
MAKE = (
    _COMMON
    + """
local lease = clock() + ARGV[1]
if redis.call('EXISTS', meta) == 0 then
  redis.call('HSET', meta, 'state', 'running', 'head', 0, 'size', 0, 'generation', 1,
    'generations', '1:1', 'lease', text(lease), 'operation', ARGV[3], 'owner', ARGV[4],
    'fingerprint', ARGV[5], 'request', ARGV[6])
  expire(lease, tonumber(ARGV[2]))
end
return text(lease)
"""
)

# generation, first, end, lease, retention, most entries, most bytes, channel, payload …
# -> verdict, and if it is kept: `lease`, bytes
APPEND = (
    _COMMON
    + """
local state, generation, head, size, cancelling = unpack(
  redis.call('HMGET', meta, 'state', 'generation', 'head', 'size', 'cancelling'))
if not state then return {'CLOSED'} end
if generation ~= ARGV[1] then return {'FENCED'} end
head, size = tonumber(head), tonumber(size)
local first, ending, count = tonumber(ARGV[2]), ARGV[3], #ARGV - 8
local known = math.max(0, head + 1 - first)
if state ~= 'running' then
  if ending == state and known >= count then return {'OK'} end
  return {'CLOSED'}
end
if count > 0 and first > head + 1 then return {'GAP'} end
for number = known + 1, count do
  local payload = ARGV[8 + number]
  head = head + 1
  redis.call('XADD', data, text(head) .. '-0', 'g', generation, 'p', payload)
  size = size + #payload
end
local most, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
if count > known then
  local length, cut = redis.call('XLEN', data), 0
  while length > 1 and (length > most or size > most_bytes) do
    local from = cut == 0 and '-' or text(cut + 1) .. '-0'
    for _, entry in ipairs(redis.call('XRANGE', data, from, '+', 'COUNT', 32)) do
      if length <= 1 or (length <= most and size <= most_bytes) then break end
      length, size = length - 1, size - #entry[2][4]
      cut = tonumber(string.match(entry[1], '^%d+'))
    end
  end
  if cut > 0 then redis.call('XTRIM', data, 'MINID', '=', text(cut + 1) .. '-0') end
end
local lease = clock()
if ending == '' then lease = lease + ARGV[4] else state = ending end
redis.call('HSET', meta, 'state', state, 'head', text(head), 'size', text(size),
  'lease', text(lease))
expire(lease, tonumber(ARGV[5]))
if count > 0 or ending ~= '' then redis.call('PUBLISH', ARGV[8], '') end
return {cancelling and ending == '' and 'CANCEL' or 'OK', text(lease), text(size)}
"""
)

# after, entries, size -> id, generation, payload, id, …
READ = (
    _COMMON
    + """
local length, found = redis.call('XLEN', data), {}
if length == 0 then return found end
local after, entries, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local average = math.max(1, (redis.call('HGET', meta, 'size') or 0) / length)
while entries > 0 do
  local step = math.min(entries, 500, math.max(0, math.floor(left / average)) + 1)
  local chunk = redis.call('XRANGE', data, text(after + 1) .. '-0', '+', 'COUNT', step)
  for _, entry in ipairs(chunk) do
    local payload = entry[2][4]
    left = left - #payload
    if left < 0 and #found > 0 then return found end
    found[#found + 1], found[#found + 2], found[#found + 3] = entry[1], entry[2][2], payload
  end
  if #chunk < step then return found end
  after, entries = tonumber(string.match(chunk[step][1], '^%d+')), entries - step
end
return found
"""
)

# retention, whether all -> nothing, or: lease left, state, `lease`, bytes, head, earliest,
# generations, cancelling, whether expired, and if all: operation, owner, fingerprint, request
STATUS = (
    _COMMON
    + """
local state, lease, size, head, generations, cancelling = unpack(
  redis.call('HMGET', meta, 'state', 'lease', 'size', 'head', 'generations', 'cancelling'))
if not state then return false end
local now, oldest = clock(), redis.call('XRANGE', data, '-', '+', 'COUNT', 1)[1]
local earliest = oldest and string.match(oldest[1], '^%d+') or text(head + 1)
local found = {text(lease - now), state, lease, size, head, earliest, generations,
  cancelling and 1 or 0, now > lease + ARGV[1] and 1 or 0}
if ARGV[2] == '1' then
  for _, value in ipairs(
    redis.call('HMGET', meta, 'operation', 'owner', 'fingerprint', 'request')) do
    found[#found + 1] = value
  end
end
return found
"""
)

# channel
CANCEL = (
    _COMMON
    + """
if redis.call('HGET', meta, 'state') == 'running' then
  redis.call('HSET', meta, 'cancelling', 1)
  redis.call('PUBLISH', ARGV[1], '')
end
"""
)

# lease, retention, token of this call -> generation, `lease`, bytes; nothing if it is not abandoned
TAKE_OVER = (
    _COMMON
    + """
local state, lease, generation, head, generations, size, taken = unpack(redis.call(
  'HMGET', meta, 'state', 'lease', 'generation', 'head', 'generations', 'size', 'taken'))
if state ~= 'running' then return false end
if taken == ARGV[3] then return {generation, lease, size} end
local now = clock()
if tonumber(lease) > now then return false end
generation, lease = text(generation + 1), now + ARGV[1]
redis.call('HSET', meta, 'generation', generation, 'lease', text(lease), 'taken', ARGV[3],
  'generations', generations .. ',' .. generation .. ':' .. text(head + 1))
expire(lease, tonumber(ARGV[2]))
return {generation, text(lease), size}
"""
)

# channel, whether one that runs too -> whether it is gone
FORGET = (
    _COMMON
    + """
if ARGV[2] ~= '1' and redis.call('HGET', meta, 'state') == 'running' then return 0 end
if redis.call('DEL', meta, data) > 0 then redis.call('PUBLISH', ARGV[1], '') end
return 1
"""
)

INDEX = ("running", "ended", "full", "sizes", "claims", "claimed")
"""The keys of the index: by lease, by when they go, by when their entries go, bytes, and claims."""

_INDEX = """
local function text(number) return string.format('%.0f', number) end
local running, ended, full, sizes, claims, claimed = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function resize(stream, size)
  local before = redis.call('HGET', sizes, stream) or 0
  if size > 0 then
    redis.call('HSET', sizes, stream, text(size))
  else
    redis.call('HDEL', sizes, stream)
  end
  redis.call('HINCRBY', sizes, 'total', text(size - before))
end
local function drop(stream)
  redis.call('ZREM', running, stream)
  redis.call('ZREM', ended, stream)
  redis.call('ZREM', full, stream)
  resize(stream, 0)
  local claim = redis.call('HGET', claimed, stream)
  redis.call('HDEL', claimed, stream)
  if claim and redis.call('HGET', claims, claim) == stream then
    redis.call('HDEL', claims, claim)
  end
end
"""

# stream, `lease`, most streams, most bytes, claim, the stream that it may be taken from
# -> OK | CLAIMED, by which stream | FULL, and what may go
ENTER = (
    _INDEX
    + """
for _, old in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', text(now), 'LIMIT', 0, 100)) do
  drop(old)
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', full, '-inf', text(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', full, old)
  resize(old, 0)
end
local stream, claim = ARGV[1], ARGV[5]
if claim ~= '' then
  local held = redis.call('HGET', claims, claim)
  if held and held ~= stream and held ~= ARGV[6] then return {'CLAIMED', held} end
end
local known = redis.call('ZSCORE', running, stream)
local streams = redis.call('ZCARD', running) + redis.call('ZCARD', ended)
local bytes = tonumber(redis.call('HGET', sizes, 'total') or 0)
if not known and (streams >= tonumber(ARGV[3]) or bytes >= tonumber(ARGV[4])) then
  return {'FULL', redis.call('ZRANGE', ended, 0, 0)[1] or '', streams, bytes}
end
redis.call('ZADD', running, ARGV[2], stream)
if claim ~= '' then
  redis.call('HSET', claims, claim, stream)
  redis.call('HSET', claimed, stream, claim)
end
return {'OK'}
"""
)

# claim -> the stream that has it, or ''
CLAIMED = (
    _INDEX
    + """
return redis.call('HGET', claims, ARGV[1]) or ''
"""
)

# retention, then of each stream: its id, its state ('' if it is gone), `lease`, bytes
NOTE = (
    _INDEX
    + """
for at = 2, #ARGV, 4 do
  local stream, state, lease, size = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if state == 'running' then
    redis.call('ZREM', ended, stream)
    redis.call('ZREM', full, stream)
    redis.call('ZADD', running, lease, stream)
    resize(stream, size)
  elseif state == '' then
    drop(stream)
  else
    redis.call('ZREM', running, stream)
    redis.call('ZADD', full, text(lease + ARGV[1]), stream)
    redis.call('ZADD', ended, text(lease + 2 * ARGV[1]), stream)
    resize(stream, size)
  end
end
"""
)

# how many -> streams whose lease seems to be over
DUE = (
    _INDEX
    + """
return redis.call('ZRANGEBYSCORE', running, '-inf', text(now), 'LIMIT', 0, ARGV[1])
"""
)
