"""The Lua scripts of `RedisStore`. Each runs atomically in Redis and uses the clock of Redis.

The scripts of a stream have two keys with the hash tag `{id}`: the metadata, a hash, and the
entries, a Redis stream with the ids `<sequence>-0`. They alone decide the state of a stream.

The scripts of the index have six keys with a hash tag of their own. The index is only a hint: it
limits the store, and finds abandoned streams and idempotency keys. It is corrected where it is
found wrong.

All times are in milliseconds. `lease` is the end of the lease while a stream runs, and then the
time at which it ended. The entries expire one `retention` later, the metadata after another one.

The comment above a script names its arguments, and after `->` its reply.
"""

__all__ = [
    "APPEND",
    "CANCEL",
    "DUE",
    "ENTER",
    "FIND",
    "FORGET",
    "MAKE",
    "NOTE",
    "READ",
    "STATUS",
    "TAKE_OVER",
]

READERS = ("READ", "STATUS")
"""The scripts that change nothing."""

COMMON = """
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

TRIM = """
local function trim(size, most, most_bytes)
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
  return size
end
"""

# lease, retention, operation, owner, fingerprint, request, first generation, lifetime or ''
# -> `lease`
MAKE = (
    COMMON
    + """
local lease = clock() + ARGV[1]
if redis.call('EXISTS', meta) == 0 then
  redis.call('HSET', meta, 'state', 'running', 'head', 0, 'size', 0, 'generation', ARGV[7],
    'generations', ARGV[7] .. ':1', 'lease', text(lease), 'operation', ARGV[3], 'owner', ARGV[4],
    'fingerprint', ARGV[5], 'request', ARGV[6])
  if ARGV[8] == '' then
    expire(lease, tonumber(ARGV[2]))
  else
    lease = lease - ARGV[1] + ARGV[8]
    redis.call('HSET', meta, 'lease', text(lease), 'lifetime', ARGV[8], 'until', text(lease))
    redis.call('PEXPIREAT', meta, text(lease))
  end
end
return text(lease)
"""
)

# generation, first, end, lease, retention, most entries, most bytes, channel, payloads …
# -> AppendResult, and if the entries are stored: `lease`, bytes
APPEND = (
    COMMON
    + TRIM
    + """
local state, generation, head, size, cancelling = unpack(
  redis.call('HMGET', meta, 'state', 'generation', 'head', 'size', 'cancelling'))
if not state then return {'CLOSED'} end
if generation ~= ARGV[1] then return {'FENCED'} end
head, size = tonumber(head), tonumber(size)
local first, ending, count = tonumber(ARGV[2]), ARGV[3], #ARGV - 8
local stored = math.max(0, head + 1 - first)
if state ~= 'running' then
  if ending == state and stored >= count then return {'OK'} end
  return {'CLOSED'}
end
if count > 0 and first > head + 1 then return {'GAP'} end
for number = stored + 1, count do
  local payload = ARGV[8 + number]
  head = head + 1
  redis.call('XADD', data, text(head) .. '-0', 'g', generation, 'p', payload)
  size = size + #payload
end
if count > stored then size = trim(size, tonumber(ARGV[6]), tonumber(ARGV[7])) end
local lease = clock()
if ending == '' then lease = lease + ARGV[4] else state = ending end
redis.call('HSET', meta, 'state', state, 'head', text(head), 'size', text(size),
  'lease', text(lease))
expire(lease, tonumber(ARGV[5]))
if count > 0 or ending ~= '' or ARGV[4] == '0' then redis.call('PUBLISH', ARGV[8], '') end
return {cancelling and ending == '' and 'CANCEL' or 'OK', text(lease), text(size)}
"""
)

# after, most entries, most bytes -> id, generation, payload, id, generation, payload …
READ = (
    COMMON
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

# retention, 1 for all -> nil, or: time left of the lease, state, `lease`, bytes, head, earliest,
# generations, cancelling, expired; for all also operation, owner, fingerprint, request, lifetime
STATUS = (
    COMMON
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
    redis.call('HMGET', meta, 'operation', 'owner', 'fingerprint', 'request', 'lifetime')) do
    found[#found + 1] = value
  end
end
return found
"""
)

# channel
CANCEL = (
    COMMON
    + """
if redis.call('HGET', meta, 'state') == 'running' then
  redis.call('HSET', meta, 'cancelling', 1)
  redis.call('PUBLISH', ARGV[1], '')
end
"""
)

# lease, retention, step to the next generation, `lease` that is known to be over, or ''
# -> generation, `lease`, bytes; nil if it is not abandoned
TAKE_OVER = (
    COMMON
    + """
local state, lease, generation, head, generations, size, taken, lifetime = unpack(redis.call(
  'HMGET', meta, 'state', 'lease', 'generation', 'head', 'generations', 'size', 'taken',
  'lifetime'))
if state ~= 'running' or lifetime then return false end
if taken == ARGV[3] then return {generation, lease, size} end
local now = clock()
if tonumber(lease) > now and lease ~= ARGV[4] then return false end
generation, lease = text(generation + ARGV[3]), now + ARGV[1]
redis.call('HSET', meta, 'generation', generation, 'lease', text(lease), 'taken', ARGV[3],
  'generations', generations .. ',' .. generation .. ':' .. text(head + 1))
expire(lease, tonumber(ARGV[2]))
return {generation, text(lease), size}
"""
)

# channel, 1 to delete a running stream too -> 1 if the stream is gone
FORGET = (
    COMMON
    + """
if ARGV[2] ~= '1' and redis.call('HGET', meta, 'state') == 'running' then return 0 end
if redis.call('DEL', meta, data) > 0 then redis.call('PUBLISH', ARGV[1], '') end
return 1
"""
)

INDEX = ("running", "ended", "full", "sizes", "keys", "key_of")
"""The keys of the index.

`running` has running streams by the end of their lease, `ended` ended ones by when they are
deleted, `full` those with entries by when these expire. `sizes` has the bytes of each, `keys` the
stream of each idempotency key, `key_of` the idempotency key of each stream.
"""

_INDEX = """
local function text(number) return string.format('%.0f', number) end
local running, ended, full, sizes, keys, key_of = unpack(KEYS)
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
  local key = redis.call('HGET', key_of, stream)
  redis.call('HDEL', key_of, stream)
  if key and redis.call('HGET', keys, key) == stream then redis.call('HDEL', keys, key) end
end
"""

# stream, `lease`, most streams, most bytes, idempotency key or '', missing stream that has the key
# -> OK | HELD, stream that has the key | FULL, stream that may be deleted or '', streams, bytes
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
local stream, key = ARGV[1], ARGV[5]
if key ~= '' then
  local held = redis.call('HGET', keys, key)
  if held and held ~= stream and held ~= ARGV[6] then return {'HELD', held} end
end
local is_entered = redis.call('ZSCORE', running, stream)
local streams = redis.call('ZCARD', running) + redis.call('ZCARD', ended)
local bytes = tonumber(redis.call('HGET', sizes, 'total') or 0)
if not is_entered and (streams >= tonumber(ARGV[3]) or bytes >= tonumber(ARGV[4])) then
  return {'FULL', redis.call('ZRANGE', ended, 0, 0)[1] or '', streams, bytes}
end
redis.call('ZADD', running, ARGV[2], stream)
if key ~= '' then
  redis.call('HSET', keys, key, stream)
  redis.call('HSET', key_of, stream, key)
end
return {'OK'}
"""
)

# idempotency key -> the stream that has it, or ''
FIND = (
    _INDEX
    + """
return redis.call('HGET', keys, ARGV[1]) or ''
"""
)

# retention, and for each stream: id, state ('' if it is gone), `lease`, bytes
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

# most streams, how long no lease is or '' -> the time, streams whose lease seems to have ended
DUE = (
    _INDEX
    + """
local due = redis.call('ZRANGEBYSCORE', running, '-inf', text(now), 'LIMIT', 0, ARGV[1])
if ARGV[2] ~= '' then
  local far = text(now + ARGV[2])
  for _, stream in ipairs(
    redis.call('ZRANGEBYSCORE', running, far, '+inf', 'LIMIT', 0, ARGV[1])) do
    due[#due + 1] = stream
  end
end
return {text(now), unpack(due)}
"""
)
