-- Copies a value of the bot, unless there is one that is as new.
-- KEYS: index, lists, value.   ARGV: '1' to do it and '0' to see whether it would be done, microseconds by which what there
-- is must be older, namespace, value, ttl, name.
-- Returns 1 if it was done, or would be, else 0.
local current = redis.call('GETRANGE', KEYS[3], 0, 15)
if current ~= '' then
  local at = tonumber(current)
  if not at or at + ARGV[2] >= tonumber(string.sub(ARGV[4], 1, 16)) then
    return 0
  end
end
if ARGV[1] == '1' then
  redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
  note(KEYS[1], KEYS[2], ARGV[3], ARGV[5], ARGV[6])
end
return 1
