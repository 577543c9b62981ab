-- restoreform.lua for the form that the bot keeps, a key for each step. It takes the same, but that KEYS[3] is what keys of
-- steps begin with, and ARGV[8] is when Redis was asked last, before the steps. What the bot itself wrote tells no time: it is older than what was changed in memory, and newer than
-- what was not. Returns 0: Redis has to be asked what there is.
local lead, ttl = KEYS[3], ARGV[5]
local listed = 'form_data_'
local deleted = ARGV[6]
local ended = redis.call('GET', KEYS[4]) or ''
if ended > deleted then
  deleted = ended
elseif deleted ~= '' then
  redis.call('SET', KEYS[4], deleted, 'PX', 24 * 3600 * 1000)
end

-- When the hub wrote a value, '' if it did not.
local function written(value)
  return string.sub(value, -34, -30) == '\nhub:' and string.sub(value, -29, -14) or ''
end

local values, gone, updated = {}, true, ''
local function look(step)
  values[step] = values[step] or redis.call('GET', lead .. step) or nil
  gone = gone and not values[step]
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(name, 1, #listed) == listed then
    look(string.sub(name, #listed + 1))
  end
end
for i = 9, #ARGV, 3 do
  look(ARGV[i])
end
for step, value in pairs(values) do
  if written(value) > updated then
    updated = written(value)
  end
  local at = written(value)
  -- What the bot wrote tells no time: if the form was ended in Redis the bot wrote it since.
  if at ~= '' and at <= deleted or at == '' and ARGV[6] ~= '' then
    values[step] = nil
    redis.call('DEL', lead .. step)
    forget(KEYS[1], KEYS[2], ARGV[1], listed .. step)
  end
end
for i = 9, #ARGV, 3 do
  local step, at, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stamp, theirs = at ~= '' and at or written(value), values[step]
  local newer = theirs and (written(theirs) > stamp or at == '' and written(theirs) == '')
  if stamp == '' and not theirs and ended >= ARGV[8] then
    newer = true -- It was there when the form was ended.
  end
  if not newer and (stamp == '' or stamp > deleted) then
    if value == '' then
      values[step] = nil
      redis.call('DEL', lead .. step)
      forget(KEYS[1], KEYS[2], ARGV[1], listed .. step)
    elseif theirs or at ~= '' or gone or stamp > updated then
      values[step] = value
      redis.call('SET', lead .. step, value, 'PX', ttl)
    end
  end
end
for step in pairs(values) do
  redis.call('PEXPIRE', lead .. step, ttl)
  note(KEYS[1], KEYS[2], ARGV[1], ttl, listed .. step)
end
return 0
