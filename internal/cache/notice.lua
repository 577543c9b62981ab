-- Puts the groups of values into the index.
--
-- KEYS[1] the index   KEYS[2..n+1] values, which may have gone   ARGV[1] the time now   ARGV[2..n+1] their groups
for i = 2, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left > 0 then redis.call('ZADD', KEYS[1], 'GT', ARGV[1] + left, ARGV[i]) end
end
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
