-- Deletes a history.   KEYS: index, lists, history.   ARGV: name.   Returns how many there were.
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('UNLINK', KEYS[3])
