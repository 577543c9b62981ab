-- Sets values.
-- KEYS: lists, then for each value its index and the value.   ARGV: condition (of the first value), then for each:
-- namespace, value, ttl, name.
-- Returns for each 1 if it was not there, else 0, or -1 if its list is something else; or the tag of the first when the
-- condition is not met.
if ARGV[1] ~= '' then
  local tag = tagOf(KEYS[3])
  if not met(ARGV[1], tag) then
    return tag
  end
end
local now, created, at = clock(), {}, 2
for i = 2, #KEYS, 2 do
  local index, key, value, ttl = KEYS[i], KEYS[i + 1], ARGV[at + 1], ARGV[at + 2]
  local new = 0
  if not redis.call('SET', key, value, 'PX', ttl, 'XX') then
    redis.call('SET', key, value, 'PX', ttl)
    new = 1
  end
  if not pcall(note, index, KEYS[1], ARGV[at], ttl, ARGV[at + 3], now) then
    new = -1
  end
  created[i / 2] = new
  at = at + 4
end
return created
