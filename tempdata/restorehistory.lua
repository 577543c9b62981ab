-- Puts back what was appended to a history in memory while Redis was away.
-- KEYS: index, lists, history.
-- ARGV: space, name, how many are kept, ttl, until when what was there is deleted ('' if it is not), '1' if it is to be put
-- back only if Redis has lost it, how many messages Redis had, then all messages; each begins with its id, of 27 characters.
-- Returns how many there are then.
local key, deleted = KEYS[3], ARGV[5]
local theirs = redis.call('LRANGE', key, 0, -1)
if ARGV[6] == '1' and #theirs > 0 then
  return #theirs
end
local known = {}
if deleted ~= '' then
  redis.call('DEL', key)
end
for i = 1, #theirs do
  if deleted == '' or string.sub(theirs[i], 1, 16) > deleted then
    known[string.sub(theirs[i], 1, 27)] = true
    if deleted ~= '' then
      redis.call('RPUSH', key, theirs[i])
    end
  end
end
-- What Redis had is not put back into what it still has: it was trimmed by others.
local from = 8
if next(known) then
  from = from + tonumber(ARGV[7])
end
for i = from, #ARGV do
  if not known[string.sub(ARGV[i], 1, 27)] then
    redis.call('RPUSH', key, ARGV[i])
  end
end
local length = redis.call('LLEN', key)
if length == 0 then
  redis.call('ZREM', KEYS[1], ARGV[2])
  return 0
end
redis.call('LTRIM', key, -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', key, ARGV[4])
note(KEYS[1], KEYS[2], ARGV[1], ARGV[4], ARGV[2])
return length
