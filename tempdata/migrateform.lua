-- Copies a step of the bot's form into a form as form.lua keeps it, unless the form has the step as new, or was changed or
-- submitted by the hub since. The entity tag of a form that only this script has changed begins with m: its steps may come
-- in any order, and are put into that in which they were written.
-- KEYS: index, lists, form, the form submitted last.
-- ARGV: '1' to do it and '0' to see whether it would be done, microseconds by which what there is must be older, space, step,
-- value, ttl, name of the form, a new tag, how many steps and how many bytes it may have.
-- Returns 1 if it was done, or would be, else 0; -1 if the form would be too large.
local form = KEYS[3]
local slack, step, value, ttl = ARGV[2], ARGV[4], ARGV[5], tonumber(ARGV[6])
local at = string.sub(value, 1, 16)

local function newer(than)
  local time = tonumber(string.sub(than, 1, 16))
  return time ~= nil and tonumber(at) > time + slack
end

local head = redis.call('HMGET', form, 'e', 'u', 'o', 'b')
local tag, changed, order, bytes = head[1], head[2] or '', head[3] or '', tonumber(head[4] or 0)
local copied = not tag or string.sub(tag, 1, 1) == 'm'
local old = redis.call('HGET', form, '.' .. step)
if old then
  if not newer(old) then
    return 0
  end
  bytes = bytes - (#old - 17)
elseif tag then
  if not copied and not newer(changed) then
    return 0
  end
else
  local submitted = redis.call('HGET', KEYS[4], 'u')
  if submitted and not newer(submitted) then
    return 0
  end
end

local steps = {}
for name in string.gmatch(order, '%S+') do
  steps[#steps + 1] = name
end
if not old then
  steps[#steps + 1] = step
end
bytes = bytes + #value - 17
if #steps > tonumber(ARGV[9]) or bytes > tonumber(ARGV[10]) then
  return -1
elseif ARGV[1] ~= '1' then
  return 1
end

if copied then
  local written = {}
  for _, name in ipairs(steps) do
    written[name] = (name == step and at or string.sub(redis.call('HGET', form, '.' .. name), 1, 16)) .. name
  end
  table.sort(steps, function(a, b)
    return written[a] < written[b]
  end)
end
if at > changed then
  changed = at
end
redis.call('HSET', form, 'e', copied and 'm' .. string.sub(ARGV[8], 2) or ARGV[8], 'u', changed, 'o', table.concat(steps, ' '),
  'b', string.format('%d', bytes), '.' .. step, value)
ttl = math.max(ttl, redis.call('PTTL', form))
redis.call('PEXPIRE', form, string.format('%d', ttl))
note(KEYS[1], KEYS[2], ARGV[3], ttl, ARGV[7])
return 1
