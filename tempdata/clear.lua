-- Deletes what a list names, at most so many.
-- KEYS: index, lists.   ARGV: namespace, how many, what keys have before a name, and after it.
-- Returns how many there were, then the names.
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[2])
local gone, answer = 0, { 0 }
for i = 1, #popped, 2 do
  gone = gone + redis.call('UNLINK', ARGV[3] .. popped[i] .. ARGV[4])
  answer[#answer + 1] = popped[i]
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
end
answer[1] = gone
return answer
