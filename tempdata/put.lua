-- Sets values of one namespace.
-- KEYS: index, lists, then the values.   ARGV: namespace, condition (of the first value), then for each: value, ttl, name.
-- Returns for each 1 if it was not there, else 0; or the tag of the first when the condition is not met.
if ARGV[2] ~= '' then
  local tag = tagOf(KEYS[3])
  if not met(ARGV[2], tag) then
    return tag
  end
end
local created, members = {}, {}
for i = 3, #KEYS do
  local at = 3 * (i - 2)
  created[i - 2] = 1 - redis.call('EXISTS', KEYS[i])
  redis.call('SET', KEYS[i], ARGV[at], 'PX', ARGV[at + 1])
  members[2 * (i - 2) - 1], members[2 * (i - 2)] = ARGV[at + 1], ARGV[at + 2]
end
note(KEYS[1], KEYS[2], ARGV[1], members)
return created
