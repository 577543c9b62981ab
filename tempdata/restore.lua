-- Puts back what was kept in memory while Redis was away, or with an empty value takes away what was deleted meanwhile,
-- if Redis has nothing or a value with the expected tag.
-- KEYS: index, lists, value.   ARGV: namespace, expected tag, value, ttl, name.
-- Returns the value that Redis has instead, '' if it was done.
local current = redis.call('GET', KEYS[3])
if current and current ~= ARGV[3] and string.sub(redis.sha1hex(current), 1, 20) ~= ARGV[2] then
  return current
elseif ARGV[3] == '' then
  redis.call('DEL', KEYS[3])
  forget(KEYS[1], KEYS[2], ARGV[1], ARGV[5])
else
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
  note(KEYS[1], KEYS[2], ARGV[1], ARGV[4], ARGV[5])
end
return ''
