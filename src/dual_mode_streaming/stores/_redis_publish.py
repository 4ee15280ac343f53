"""The Lua script of `RedisStore.publish`; `_redis_scripts` explains the keys and times.

A mark is a field `m:<name>` of the metadata, with the generation and the sequence before its value.
`run` is the Redis process in which the last generation began: another one, after a restart or a
failover, may lack the last entries, so its first publish begins another generation.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dual_mode_streaming.stores._base import AppendResult, Mark, Published
from dual_mode_streaming.stores._publishing import FOREVER, MARKS, next_step
from dual_mode_streaming.stores._redis_scripts import COMMON, TRIM

# end, lifetime or '', retention, most entries, most bytes, channel, step to another generation,
# number of marks, for each mark: name, expected value after '=' or '', new value; payloads …
# -> AppendResult, generation, head, and
# OK: state, `lease`, bytes | CONFLICT: for each mark that is there: name, value as it is stored
PUBLISH: Final = (
    COMMON
    + TRIM
    + f"local kept = {MARKS}"
    + """
local state, generation, head, size, generations, run, ends, lifetime = unpack(redis.call(
  'HMGET', meta, 'state', 'generation', 'head', 'size', 'generations', 'run', 'until', 'lifetime'))
if not lifetime then return {'CLOSED', '0', '0'} end
local ending, marks = ARGV[1], tonumber(ARGV[8])
local count, held, differs = #ARGV - 8 - 3 * marks, {}, false
for number = 0, marks - 1 do
  local name, expected = ARGV[9 + 3 * number], ARGV[10 + 3 * number]
  local found = redis.call('HGET', meta, 'm:' .. name)
  if found then held[#held + 1], held[#held + 2] = name, found end
  local value = found and '=' .. string.match(found, '^%d+ %d+ (.*)$') or ''
  differs = differs or value ~= expected
end
if differs then return {'CONFLICT', generation, head, unpack(held)} end
if state ~= 'running' and (count > 0 or ending ~= '') then return {'CLOSED', generation, head} end
head, size = tonumber(head), tonumber(size)
if count > 0 then
  local server = redis.pcall('INFO', 'server')
  local now = type(server) == 'string' and string.match(server, 'run_id:(%x+)') or ''
  if run and run ~= now then
    generation = text(generation + ARGV[7])
    redis.call('HSET', meta, 'generation', generation,
      'generations', generations .. ',' .. generation .. ':' .. text(head + 1))
  end
  if run ~= now then redis.call('HSET', meta, 'run', now) end
end
for number = #ARGV - count + 1, #ARGV do
  head, size = head + 1, size + #ARGV[number]
  redis.call('XADD', data, text(head) .. '-0', 'g', generation, 'p', ARGV[number])
end
if count > 0 then size = trim(size, tonumber(ARGV[4]), tonumber(ARGV[5])) end
for number = 0, marks - 1 do
  local value = generation .. ' ' .. text(head) .. ' ' .. ARGV[11 + 3 * number]
  redis.call('HSET', meta, 'm:' .. ARGV[9 + 3 * number], value)
end
if marks > 0 and redis.call('HLEN', meta) > 2 * kept then
  local all, found = redis.call('HGETALL', meta), {}
  for at = 1, #all, 2 do
    if string.sub(all[at], 1, 2) == 'm:' then
      found[#found + 1] = {tonumber(string.match(all[at + 1], '^%d+ (%d+) ')), all[at]}
    end
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  for at = 1, #found - kept do redis.call('HDEL', meta, found[at][2]) end
end
local now, retention = clock(), tonumber(ARGV[3])
if ARGV[2] ~= '' then ends = text(now + ARGV[2]) end
if ending ~= '' then
  state = ending
  redis.call('HSET', meta, 'lease', text(now))
end
local lease = ends
if state ~= 'running' then lease = redis.call('HGET', meta, 'lease') end
redis.call('HSET', meta, 'state', state, 'head', text(head), 'size', text(size), 'until', ends)
if state == 'running' then
  redis.call('HSET', meta, 'lease', ends)
  redis.call('PEXPIREAT', meta, ends)
  redis.call('PEXPIREAT', data, ends)
else
  redis.call('PEXPIREAT', meta, text(math.min(ends, lease + 2 * retention)))
  redis.call('PEXPIREAT', data, text(math.min(ends, lease + retention)))
end
if count > 0 or ending ~= '' then redis.call('PUBLISH', ARGV[6], '') end
return {'OK', generation, text(head), state, lease, text(size)}
"""
)


def flat_marks(marks: Mapping[str, tuple[str | None, str]]) -> Iterator[str | int]:
    """Yield the arguments of the script from the step to the last mark."""
    yield next_step()
    yield len(marks)
    for name, (expected, value) in marks.items():
        yield name
        yield "" if expected is None else f"={expected}"
        yield value


def published(reply: Sequence[bytes]) -> Published:
    """Return the reply of the script."""
    result, held = AppendResult[reply[0].decode()], {}
    if result is AppendResult.CONFLICT:
        for name, stored in zip(reply[3::2], reply[4::2], strict=True):
            generation, sequence, value = stored.split(b" ", 2)
            held[name.decode()] = Mark(value.decode(), int(generation), int(sequence))
    return Published(result, int(reply[1]), int(reply[2]), held)


def milliseconds(lifetime: float) -> int:
    """Return a lifetime as the scripts take it."""
    return max(1, round(min(lifetime, FOREVER) * 1000))
