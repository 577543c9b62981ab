-- Deletes a history.   KEYS: index, lists, history.   ARGV: space, name.   Returns how many there were.
forget(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
return redis.call('UNLINK', KEYS[3])
