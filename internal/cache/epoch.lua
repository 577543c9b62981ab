-- Comes before the scripts that need the epoch.

-- Returns the epoch that a key has, and makes one when there is none, or something that is none. See epoch.go for its
-- format: this accepts what parseEpoch does.
local function current_epoch(key)
  local text = redis.pcall('GET', key) -- An error if somebody keeps no string there.
  if type(text) == 'string' then
    local good, floor = true, false
    for word in string.gmatch(text, '[^ ]+') do
      local tag, n = string.match(word, '^([^=]+)=(%d+)$')
      good = good and n ~= nil and tonumber(n) >= 1 and tonumber(n) <= 9e15
      floor = floor or tag == 'floor'
    end
    if good and floor then return text end
  end
  local now = redis.call('TIME')
  text = string.format('floor=%.0f', now[1] * 1000000 + now[2])
  redis.call('SET', key, text)
  return text
end

