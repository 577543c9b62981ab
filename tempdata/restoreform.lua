-- Puts back what of a form was changed in memory while Redis was away, and what of it Redis has lost, step by step, the newer
-- of two winning.
-- KEYS: index, lists, form, when it was deleted or submitted last.
-- ARGV: space, name of the form, its tag, when it was changed, ttl, when it was deleted as a whole ('' if it was not), a tag
-- for when it is not as it was in memory, when Redis was asked last; then for each step: name, when it was changed ('' if it was not), value ('' if it
-- was deleted).
-- Returns 1 if the form is there now as it was in memory, 0 if Redis has another.
local form = KEYS[3]
local deleted = ARGV[6]
local ended = redis.call('GET', KEYS[4]) or ''
if ended > deleted then
  deleted = ended
elseif deleted ~= '' then
  redis.call('SET', KEYS[4], deleted, 'PX', 24 * 3600 * 1000)
end
local head = redis.call('HMGET', form, 'o', 'u')
local order, updated, gone = ' ' .. (head[1] or '') .. ' ', head[2] or '', not head[2]
local alike, expected = true, 0

local function remove(step)
  redis.call('HDEL', form, '.' .. step)
  local from, to = string.find(order, ' ' .. step .. ' ', 1, true)
  order = string.sub(order, 1, from) .. string.sub(order, to + 1)
end

for step in string.gmatch(head[1] or '', '%S+') do
  if string.sub(redis.call('HGET', form, '.' .. step), 1, 16) <= deleted then
    remove(step)
  end
end
for i = 9, #ARGV, 3 do
  local step, at, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stamp = at ~= '' and at or string.sub(value, 1, 16)
  local listed = string.find(order, ' ' .. step .. ' ', 1, true)
  local theirs = listed and redis.call('HGET', form, '.' .. step)
  if value ~= '' then
    expected = expected + 1
  end
  if stamp <= deleted then
    alike = alike and value == ''
  elseif theirs and string.sub(theirs, 1, 16) > stamp then
    alike = alike and theirs == value
  elseif value == '' then
    if theirs then
      remove(step)
    end
  elseif theirs or at ~= '' or gone or stamp > updated then
    redis.call('HSET', form, '.' .. step, value)
    if not listed then
      order = order .. step .. ' '
    end
  else
    alike = false -- Somebody has deleted it since.
  end
end
order = string.match(order, '^%s*(.-)%s*$')
if order == '' and deleted ~= '' then
  redis.call('DEL', form)
  forget(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
  return 1
end
local bytes, steps = 0, 0
for step in string.gmatch(order, '%S+') do
  bytes, steps = bytes + redis.call('HSTRLEN', form, '.' .. step) - 17, steps + 1
end
alike = alike and steps == expected
redis.call('HSET', form, 'e', alike and ARGV[3] or ARGV[7], 'o', order, 'b', bytes)
if gone or ARGV[4] >= updated then
  redis.call('HSET', form, 'u', ARGV[4])
  redis.call('PEXPIRE', form, ARGV[5])
  note(KEYS[1], KEYS[2], ARGV[1], ARGV[5], ARGV[2])
end
return alike and 1 or 0
