-- Gives a lease back.   KEYS: lease.   ARGV: token.   Returns 1 if it was held with the token, else 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
