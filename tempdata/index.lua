-- The time, in milliseconds.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lists a name by when it expires, in ttl milliseconds from now. The list itself is kept longer than any of its members.
-- What is new in it takes some of what has expired out of it, so that it does not grow.
local function note(index, lists, namespace, ttl, name, now)
  local month = 31 * 24 * 3600 * 1000
  now = now or clock()
  local added = redis.call('ZADD', index, now + ttl, name)
  local left = redis.call('PTTL', index)
  if left < month then
    redis.call('PEXPIRE', index, 2 * month)
    if left < 0 then
      redis.call('SADD', lists, namespace)
    end
  end
  if added > 0 then
    local expired = redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 2)
    for i = 1, #expired do
      redis.call('ZREM', index, expired[i])
    end
  end
end

-- Lists a name no longer.
local function forget(index, lists, namespace, name)
  redis.call('ZREM', index, name)
  if redis.call('EXISTS', index) == 0 then
    redis.call('SREM', lists, namespace)
  end
end

