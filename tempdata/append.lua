-- Adds messages to the end of a history, and keeps the last so many.
-- KEYS: index, lists, history.   ARGV: space, name, how many are kept, ttl, then the messages.   Returns how many there are.
local length = redis.call('RPUSH', KEYS[3], unpack(ARGV, 5))
local most = tonumber(ARGV[3])
if length > most then
  redis.call('LTRIM', KEYS[3], -most, -1)
  length = most
end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
note(KEYS[1], KEYS[2], ARGV[1], ARGV[4], ARGV[2])
return length
