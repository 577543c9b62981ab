-- Keeps a value, unless one is kept: the first counts, whoever had the key last.   KEYS: record.
-- ARGV: fingerprint, value, milliseconds to keep it.
-- Returns '+' when it is kept, '!' when the key was used with another fingerprint meanwhile, or else the value that is.
local fingerprint, value = unpack(redis.call('HMGET', KEYS[1], 'fingerprint', 'value'))
if fingerprint and fingerprint ~= ARGV[1] then
  return '!'
elseif value and value ~= ARGV[2] then
  return value
elseif not value then -- Else the answer to an earlier call was lost.
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'value', ARGV[2])
  redis.call('HDEL', KEYS[1], 'owner')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return '+'
