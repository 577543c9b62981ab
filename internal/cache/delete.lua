-- Deletes values, and takes their locks away from whoever is loading them.
--
-- KEYS[1..n] the values   KEYS[n+1..2n] their locks   the others of their group   the index, if there is one, last
-- ARGV[1] n   ARGV[2] the channel to tell   ARGV[3] the index's member, '' if there is no index
--
-- Returns how many there were.
local n = tonumber(ARGV[1])
local deleted = 0
for i = 1, n do
  if redis.call('DEL', KEYS[i]) == 1 then
    deleted = deleted + 1
  else
    -- Redis tells those who are loading the value only of what changes.
    redis.pcall('SET', KEYS[i], '') -- It fails when the memory is used up.
    redis.call('DEL', KEYS[i])
  end
  redis.call('DEL', KEYS[n + i])
  redis.pcall('PUBLISH', ARGV[2], KEYS[i]) -- It may be forbidden.
end
if ARGV[3] ~= '' then
  local left = 0
  for i = 2 * n + 1, #KEYS - 1 do
    left = left + redis.call('EXISTS', KEYS[i])
  end
  if left == 0 then redis.call('ZREM', KEYS[#KEYS], ARGV[3]) end
end
return deleted
