-- Deletes values that are no longer valid, unless something else was written in the meantime, or is about to be.
--
-- KEYS[1..n] the values   KEYS[n+1..2n] their locks   ARGV[1..n] what the values were
--
-- Returns how many were left since somebody is loading them: a value that goes while it is loaded anew would look to
-- store.lua as if another client had deleted it.
local n, left = #ARGV, 0
for i = 1, n do
  if redis.pcall('GET', KEYS[i]) == ARGV[i] then
    if redis.call('EXISTS', KEYS[n + i]) == 1 then
      left = left + 1
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
return left
