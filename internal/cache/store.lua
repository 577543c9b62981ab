-- Stores a value that was loaded under the lock, and gives the lock back.
--
-- KEYS[1] the value   KEYS[2] its lock   KEYS[3] the epoch   KEYS[4] the index, if there is one
-- ARGV[1] the token   ARGV[2] the epoch that went with it   ARGV[3] what the value was then, '' if there was none
-- ARGV[4] the new value   ARGV[5] milliseconds to keep it   ARGV[6] the channel to tell   ARGV[7] the index's member, '' for none
-- ARGV[8] when it expires, in milliseconds   ARGV[9] the time now
--
-- Returns 1 when it was stored and 0 when it may be outdated: the lock was lost or taken away by a write, a tag was
-- invalidated, or another client wrote the key.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
local value = redis.pcall('GET', KEYS[1]) -- An error if somebody keeps no string there, which counts as nothing.
if (type(value) == 'string' and value or '') ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
if KEYS[4] then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[9])
  if ARGV[7] ~= '' then redis.call('ZADD', KEYS[4], 'GT', ARGV[8], ARGV[7]) end
end
redis.pcall('PUBLISH', ARGV[6], KEYS[1]) -- It may be forbidden.
return 1
