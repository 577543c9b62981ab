-- Deletes what a list names, at most so many.
-- KEYS: index, lists.   ARGV: namespace, how many, what keys have before a name, and after it, what names begin with that
-- are left alone, '' for none.
-- Returns how many there were, then the names.
local most, keep, from = tonumber(ARGV[2]), ARGV[5], 0
local gone, answer = 0, { 0 }
repeat
  local names = redis.call('ZRANGE', KEYS[1], from, from + most - 1)
  for _, name in ipairs(names) do
    if keep ~= '' and string.sub(name, 1, #keep) == keep then
      from = from + 1
    else
      redis.call('ZREM', KEYS[1], name)
      gone = gone + redis.call('UNLINK', ARGV[3] .. name .. ARGV[4])
      answer[#answer + 1] = name
    end
  end
until #answer > most or #names < most
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
end
answer[1] = gone
return answer
