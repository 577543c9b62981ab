-- Reads and changes a form, a hash: e its entity tag, u when it was changed, o its steps in their order, b how many bytes of
-- JSON they hold, and each step under its name after a dot, as 16 digits of microseconds, a space and JSON. One that was
-- submitted and put back also has id and ie, the id of that submission and the tag that it had.
-- KEYS: index, lists, form, when it was deleted or submitted last; and for submissions where one is kept, their index and
-- lists.
-- ARGV: condition, the new tag, now in 16 digits, ttl, space, name of the form, the tag of the steps that the caller knows
-- ('' none, '?' it does not want them), how many steps and how many bytes it may have; then for each change three:
--   's', step, value   sets a step            'd', step, ''      deletes one
--   'x', '', ''        deletes the form
--   'm', id, fingerprint, done, age, space, name submits it; the last two are what a submission is listed as. One that is
--                      there already is given out again if it has a key, which its name shows by a slash, or, if it is not
--                      done, when it is older than age, in microseconds
--   'r', id, '', space, name takes a submission back, if there is no form by now
--   'f', id, '', space, name notes that a submission is done
-- The last three are the only change then.
-- Returns {status, tag before, tag after, changed, ttl left, number or id of a submission, step, value, step, value, …}.
local form, submitted = KEYS[3], KEYS[5]
local condition, after, now, ttl, space, name, known = unpack(ARGV, 1, 7)
local overhead, day = 17, 24 * 3600 * 1000

local head = redis.call('HMGET', form, 'e', 'u', 'o', 'b')
local before, changed, order, bytes = head[1] or '', head[2] or '', head[3] or '', tonumber(head[4] or 0)

local function answer(status, hash, list, tag, at, left, id)
  local reply, names = { status, before, tag, at, left, id }, {}
  for step in string.gmatch(list, '%S+') do
    names[#names + 1] = '.' .. step
  end
  if #names > 0 then
    local values = redis.call('HMGET', hash, unpack(names))
    for i = 1, #names do
      reply[#reply + 1] = string.sub(names[i], 2)
      reply[#reply + 1] = values[i]
    end
  end
  return reply
end

local what = ARGV[10]
if what == 'm' then
  local id, fingerprint, done, kept = ARGV[11], ARGV[12], ARGV[13], ARGV[16]
  local last = redis.call('HMGET', submitted, 'id', 'fp', 'done', 'o', 'u', 'at')
  local keyed = string.find(kept, '/', 1, true)
  if keyed and last[1] and last[2] ~= fingerprint then
    return { 'reused', before }
  elseif last[1] and (keyed or before == '' and last[3] == '0' and now - last[6] > tonumber(ARGV[14])) then
    local left = tonumber(redis.call('HGET', submitted, 'left') or 0) - (now - last[6]) / 1000
    redis.call('HSET', submitted, 'at', now, 'left', string.format('%.0f', left))
    return answer('again', submitted, last[4], '', last[5], 0, last[1])
  elseif before == '' and met(condition, '') then
    return { 'noform', '' }
  elseif not met(condition, before) then
    return { 'unmet', before }
  elseif bytes > tonumber(ARGV[9]) then
    return { 'bytes', before }
  end
  local old = redis.call('HMGET', form, 'id', 'ie')
  if old[1] and old[2] == before then
    id = old[1] -- Perhaps it was published then.
  end
  local left = redis.call('PTTL', form)
  redis.call('RENAME', form, submitted)
  redis.call('HSET', submitted, 'left', left, 'id', id, 'ie', before, 'fp', fingerprint, 'done', done, 'at', now)
  redis.call('PEXPIRE', submitted, ttl)
  forget(KEYS[1], KEYS[2], space, name)
  note(KEYS[6], KEYS[7], ARGV[15], ttl, kept)
  redis.call('SET', KEYS[4], now, 'PX', day)
  return answer('ok', submitted, order, '', changed, 0, id)
elseif what == 'f' or what == 'r' then
  if redis.call('HGET', submitted, 'id') == ARGV[11] then
    if what == 'f' then
      redis.call('HSET', submitted, 'done', '1')
    elseif before == '' then
      local since = redis.call('HMGET', submitted, 'left', 'at')
      ttl = string.format('%.0f', math.max(since[1] - (now - since[2]) / 1000, 1000))
      redis.call('HDEL', submitted, 'fp', 'done', 'at', 'left')
      redis.call('DEL', KEYS[4])
      forget(KEYS[6], KEYS[7], ARGV[13], ARGV[14])
      redis.call('RENAME', submitted, form)
      redis.call('PEXPIRE', form, ttl)
      note(KEYS[1], KEYS[2], space, ttl, name)
    end
  end
  return { 'ok', before, before }
end

if not met(condition, before) then
  return { 'unmet', before }
elseif what == 'x' then
  if before == '' then
    return { 'noform', '' }
  end
  redis.call('DEL', form)
  forget(KEYS[1], KEYS[2], space, name)
  redis.call('SET', KEYS[4], now, 'PX', day)
  return { 'ok', before, '' }
elseif not what then
  if before == '' then
    return { 'noform', '' }
  end
  local left = redis.call('PTTL', form)
  if before == known then
    return { 'ok', before, before, changed, left, '' }
  end
  return answer('ok', form, order, before, changed, left, '')
end

-- First what will be, then whether it may be, and then it is done.
local all = ' ' .. order .. ' '
local added = false
local set, deleted = {}, {}
for i = 10, #ARGV, 3 do
  local step, value = ARGV[i + 1], ARGV[i + 2]
  local from, to = string.find(all, ' ' .. step .. ' ', 1, true)
  if from then
    bytes = bytes - redis.call('HSTRLEN', form, '.' .. step) + overhead
  end
  if ARGV[i] == 's' then
    if not from then
      all = all .. step .. ' '
      added = true
    end
    bytes = bytes + #value - overhead
    set[#set + 1] = '.' .. step
    set[#set + 1] = value
  elseif not from then
    return { before == '' and 'noform' or 'nostep', before }
  else
    all = string.sub(all, 1, from) .. string.sub(all, to + 1)
    deleted[#deleted + 1] = '.' .. step
  end
end
if added then
  local _, steps = string.gsub(all, '%S+', '')
  if steps > tonumber(ARGV[8]) then
    return { 'steps', before }
  end
end
if bytes > tonumber(ARGV[9]) then
  return { 'bytes', before }
elseif added or #deleted > 0 then
  order = string.match(all, '^%s*(.-)%s*$')
  set[#set + 1] = 'o'
  set[#set + 1] = order
end
redis.call('HSET', form, 'e', after, 'u', now, 'b', bytes, unpack(set))
if #deleted > 0 then
  redis.call('HDEL', form, unpack(deleted))
end
redis.call('PEXPIRE', form, ttl)
note(KEYS[1], KEYS[2], space, ttl, name)
if known == '?' or known == before then
  return { 'ok', before, after, now, ttl, '' }
end
return answer('ok', form, order, after, now, ttl, '')
