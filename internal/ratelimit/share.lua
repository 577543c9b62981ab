-- Adds what callers used up to what is known of them, and returns how much of it has not drained.
-- KEYS: one of each caller, which holds the microsecond, by the server's clock, in which all will have drained.
-- ARGV: how long ago it may have been used up; then, of each caller, what was used up, and the most that one can owe. All in
-- microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left = {}
for i, key in ipairs(KEYS) do
  local tat = math.max(tonumber(redis.call('GET', key)) or 0, now - ARGV[1]) + ARGV[2 * i]
  tat = math.min(tat, now + ARGV[2 * i + 1])
  if tat > now then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
  end
  left[i] = math.max(tat - now, 0)
end
return left
