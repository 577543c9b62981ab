-- Returns members with their scores, in order, those that expire first before others.
--
-- KEYS[1] the set   ARGV[1] the lowest score   ARGV[2] how many, above 0
-- ARGV[3] if there is one: only members that come after it, by their bytes, of those with the lowest score

-- Reports whether one string comes after another by their bytes, as in a sorted set. Lua compares by the locale.
local function after(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

local set, lowest, name = KEYS[1], ARGV[1], ARGV[3]
local from = redis.call('ZCOUNT', set, '-inf', '(' .. lowest)
if name and tonumber(redis.call('ZSCORE', set, name) or '') == tonumber(lowest) then
  from = redis.call('ZRANK', set, name) + 1
elseif name then
  -- It has gone, or expires at another time by now: the place where it was is searched by halves.
  local to = redis.call('ZCOUNT', set, '-inf', lowest)
  while from < to do
    local middle = math.floor((from + to) / 2)
    if after(redis.call('ZRANGE', set, middle, middle)[1], name) then to = middle else from = middle + 1 end
  end
end
return redis.call('ZRANGE', set, from, from + ARGV[2] - 1, 'WITHSCORES')
