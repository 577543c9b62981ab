-- Puts back what of a form was changed in memory while Redis was away, step by step, the newer of two winning.
-- KEYS: index, lists, form.
-- ARGV: space, name of the form, its tag, when it was changed, ttl, when it was deleted as a whole ('' if it was not), '1'
-- if it is to be put back only if Redis has lost it, a tag for when it is not as it was in memory; then for each step:
-- name, when it was changed ('' if it was not), value ('' if it was deleted).
-- Returns 1 if the form is there now as it was in memory, 0 if Redis has another.
local form = KEYS[3]
local deleted, lost = ARGV[6], ARGV[7] == '1'
local gone = redis.call('EXISTS', form) == 0
if lost and not gone then
  return 0
end
local order, alike, expected = redis.call('HGET', form, 'o') or '', true, 0
if deleted ~= '' then
  local kept = {}
  for step in string.gmatch(order, '%S+') do
    if string.sub(redis.call('HGET', form, '.' .. step), 1, 16) > deleted then
      kept[#kept + 1], alike = step, false
    else
      redis.call('HDEL', form, '.' .. step)
    end
  end
  order = table.concat(kept, ' ')
end
order = ' ' .. order .. ' '
for i = 9, #ARGV, 3 do
  local step, at, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  expected = expected + (value ~= '' and 1 or 0)
  local from, to = string.find(order, ' ' .. step .. ' ', 1, true)
  local theirs = from and redis.call('HGET', form, '.' .. step)
  if theirs and (at == '' or string.sub(theirs, 1, 16) > at) then
    alike = alike and theirs == value
  elseif value ~= '' then
    if at ~= '' or gone then
      redis.call('HSET', form, '.' .. step, value)
      if not from then
        order = order .. step .. ' '
      end
    else
      alike = false -- Somebody deleted it.
    end
  elseif theirs then
    redis.call('HDEL', form, '.' .. step)
    order = string.sub(order, 1, from) .. string.sub(order, to + 1)
  end
end
order = string.match(order, '^%s*(.-)%s*$')
if deleted ~= '' and order == '' then
  redis.call('DEL', form)
  redis.call('ZREM', KEYS[1], ARGV[2])
  return 1
end
local bytes, steps = 0, 0
for step in string.gmatch(order, '%S+') do
  bytes, steps = bytes + redis.call('HSTRLEN', form, '.' .. step) - 17, steps + 1
end
alike = alike and steps == expected
redis.call('HSET', form, 'e', alike and ARGV[3] or ARGV[8], 'u', ARGV[4], 'o', order, 'b', string.format('%d', bytes))
redis.call('PEXPIRE', form, ARGV[5])
note(KEYS[1], KEYS[2], ARGV[1], ARGV[5], ARGV[2])
return alike and 1 or 0
