-- Copies a menu of the bot, unless there is one.
-- KEYS: menu, index of the users who have menus.   ARGV: '1' to do it and '0' to see whether it would be done, menu, ttl, user.
-- Returns 1 if it was done, or would be, else 0.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if ARGV[1] == '1' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  local time = redis.call('TIME')
  local expires = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
  redis.call('ZADD', KEYS[2], 'GT', string.format('%.0f', expires), ARGV[4])
end
return 1
