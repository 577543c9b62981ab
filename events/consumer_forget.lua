-- Forgets consumers that hold nothing: the one that is named, and those not heard of for long. One that holds something
-- is left, for Redis would forget that as well.   KEYS: log.   ARGV: group, consumer that leaves or '', milliseconds.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then -- There is no log, or no group.
  return 0
end
local forgotten = 0
for _, info in ipairs(consumers) do
  local c = {}
  for i = 1, #info, 2 do
    c[info[i]] = info[i + 1]
  end
  if c.pending == 0 and (c.name == ARGV[2] or c.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
    forgotten = forgotten + 1
  end
end
return forgotten
