-- Takes a lease, or renews it for who has it.   KEYS: lease.   ARGV: token, ttl, '1' only to renew.
-- Returns 0, how long another has it, or -1 when there is none to renew.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return math.max(redis.call('PTTL', KEYS[1]), 1)
elseif not holder and ARGV[3] == '1' then
  return -1
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
