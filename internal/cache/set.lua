-- Sets a value, and takes the lock away from whoever is loading one.
--
-- KEYS[1] the value   KEYS[2] its lock   KEYS[3] the epoch   KEYS[4] the index, if there is one
-- ARGV[1] '1' to set it only when it is still ARGV[3]   ARGV[2] the epoch that the new value names, '' if none is known
-- ARGV[3] see ARGV[1]   ARGV[4] to ARGV[9] as in store.lua
--
-- Returns '' when it was set, '!' when it was not since it is no longer ARGV[3], and otherwise the epoch that the value
-- should have named.
local epoch = current_epoch(KEYS[3])
if epoch ~= ARGV[2] then return epoch end
if ARGV[1] == '1' and redis.pcall('GET', KEYS[1]) ~= ARGV[3] then return '!' end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
if KEYS[4] then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[9])
  if ARGV[7] ~= '' then redis.call('ZADD', KEYS[4], 'GT', ARGV[8], ARGV[7]) end
end
redis.pcall('PUBLISH', ARGV[6], KEYS[1]) -- It may be forbidden.
return ''
