-- Puts back what was appended to a history in memory while Redis was away.
-- KEYS: index, lists, history.
-- ARGV: space, name, how many are kept, ttl, until when what was there is deleted ('' if it is not), how many messages Redis
-- had, then all messages; each begins with its id, of 27 characters.
-- Returns how many there are then.
local key, deleted = KEYS[3], ARGV[5]
local theirs = redis.call('LRANGE', key, 0, -1)
local known, last = {}, ''
if deleted ~= '' then
  redis.call('DEL', key)
end
for i = 1, #theirs do
  if deleted == '' or string.sub(theirs[i], 1, 16) > deleted then
    last = string.sub(theirs[i], 1, 27)
    known[last] = true
    if deleted ~= '' then
      redis.call('RPUSH', key, theirs[i])
    end
  end
end
-- What Redis had is put back only behind what it still has: others may have trimmed it before.
local since = 7 + tonumber(ARGV[6])
for i = 7, #ARGV do
  local id = string.sub(ARGV[i], 1, 27)
  if not known[id] and (i >= since or id > last) then
    redis.call('RPUSH', key, ARGV[i])
  end
end
local length = redis.call('LLEN', key)
if length == 0 then
  forget(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
  return 0
end
redis.call('LTRIM', key, -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', key, ARGV[4])
note(KEYS[1], KEYS[2], ARGV[1], ARGV[4], ARGV[2])
return length
