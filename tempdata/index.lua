-- Lists names by when they expire. Members are ttl, name, ttl, name, …; ttl in milliseconds. The list itself is kept
-- longer than any of its members. What is new in it takes some of what has expired out of it, so that it does not grow.
local function note(index, lists, namespace, members)
  local month = 31 * 24 * 3600 * 1000
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local left = redis.call('PTTL', index)
  local added = 0
  for i = 1, #members, 2 do
    added = added + redis.call('ZADD', index, string.format('%.0f', now + members[i]), members[i + 1])
  end
  if left < month then
    redis.call('PEXPIRE', index, string.format('%.0f', 2 * month))
    if left < 0 then
      redis.call('SADD', lists, namespace)
    end
  end
  if added > 0 then
    local expired = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('%.0f', now), 'LIMIT', 0, 2 * added)
    for i = 1, #expired do
      redis.call('ZREM', index, expired[i])
    end
  end
end

