-- Gives a key to who asks, unless another has it or its value is kept.   KEYS: record.
-- ARGV: fingerprint, who asks, milliseconds it may take.
-- Returns '+' when it is theirs, '?' when another has it, '!' when the fingerprint is another, or else the value.
--
-- Who has it already gets it again: the answer to an earlier call was lost, or giving it back failed.
local fingerprint, owner, value = unpack(redis.call('HMGET', KEYS[1], 'fingerprint', 'owner', 'value'))
if fingerprint and fingerprint ~= ARGV[1] then
  return '!'
elseif value then
  return value
elseif owner and owner ~= ARGV[2] then
  return '?'
end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return '+'
