-- Forgets lists that are not there.   KEYS: the list of lists, then the lists.   ARGV: their names.
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('SREM', KEYS[1], ARGV[i - 1])
  end
end
return 0
