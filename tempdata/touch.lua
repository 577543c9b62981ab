-- Gives a value another time to live, or deletes it with a ttl of 0.
-- KEYS: index, lists, value.   ARGV: namespace, condition, ttl, name.   Returns {1, tag} of what is or was there,
-- {0, tag} when the condition is not met, {-1} when there is nothing.
local tag = tagOf(KEYS[3])
if not met(ARGV[2], tag) then
  return { 0, tag }
elseif tag == '' then
  forget(KEYS[1], KEYS[2], ARGV[1], ARGV[4])
  return { -1 }
elseif ARGV[3] == '0' then
  redis.call('DEL', KEYS[3])
  forget(KEYS[1], KEYS[2], ARGV[1], ARGV[4])
else
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  note(KEYS[1], KEYS[2], ARGV[1], ARGV[3], ARGV[4])
end
return { 1, tag }
