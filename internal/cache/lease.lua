-- Takes the lock of a key for whoever is about to load its value, and makes the epoch when there is none.
--
-- KEYS[1] the value   KEYS[2] its lock   KEYS[3] the epoch
-- ARGV[1] the token   ARGV[2] milliseconds to hold the lock   ARGV[3] '1' to take it from whoever holds it
--
-- Returns whether it was taken (1 or 0), the value or '', the epoch, and the token that the lock now has.
local epoch = current_epoch(KEYS[3])
local taken
if ARGV[3] == '1' then
  taken = redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
else
  taken = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
end
local value = redis.pcall('GET', KEYS[1]) -- An error if somebody keeps no string there, which counts as nothing.
return { taken and 1 or 0, type(value) == 'string' and value or '', epoch, redis.call('GET', KEYS[2]) or '' }
