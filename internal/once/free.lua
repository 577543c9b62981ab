-- Gives a key back that has no value.   KEYS: record.   ARGV: who had it.   Returns 1, or 0 if another has it by now.
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
