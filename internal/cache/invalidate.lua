-- Invalidates all values with a tag that were stored before.
--
-- KEYS[1] the epoch   ARGV[1] the tag   ARGV[2] the channel to tell
--
-- Returns the new epoch.
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local pairs = {}
for tag, n in string.gmatch(current_epoch(KEYS[1]), '([^ =]+)=(%d+)') do
  at = math.max(at, tonumber(n) + 1)
  if tag ~= ARGV[1] then table.insert(pairs, tag .. '=' .. n) end
end
table.insert(pairs, string.format('%s=%.0f', ARGV[1], at))
local epoch = table.concat(pairs, ' ')
redis.call('SET', KEYS[1], epoch)
redis.pcall('PUBLISH', ARGV[2], KEYS[1]) -- It may be forbidden.
return epoch
