-- Lists what another program wrote, and no longer what it deleted.
-- KEYS: lists, then for each an index and a value.   ARGV: what the time to live of a value without one is taken for, then
-- for each: namespace, name.
for i = 2, #KEYS, 2 do
  local ttl = redis.call('PTTL', KEYS[i + 1])
  if ttl == -2 then
    redis.call('ZREM', KEYS[i], ARGV[i + 1])
  else
    if ttl == -1 then
      ttl = ARGV[1]
    end
    note(KEYS[i], KEYS[1], ARGV[i], ttl, ARGV[i + 1])
  end
end
return 0
