-- Lists what another program wrote, and no longer what it deleted.
-- KEYS: for each its lists, index and value.   ARGV: what the time to live of a value without one is taken for, then
-- for each: namespace, name.
for i = 1, #KEYS, 3 do
  local at = 2 * (i + 2) / 3
  local ttl = redis.call('PTTL', KEYS[i + 2])
  if ttl == -2 then
    forget(KEYS[i + 1], KEYS[i], ARGV[at], ARGV[at + 1])
  else
    if ttl == -1 then
      ttl = ARGV[1]
    end
    note(KEYS[i + 1], KEYS[i], ARGV[at], ttl, ARGV[at + 1])
  end
end
return 0
