-- Reads and changes the form that the bot keeps, a key for each step. It takes and returns what form.lua does, but that
-- KEYS[1] is the list of the user's values, KEYS[3] is what keys of steps begin with, and every answer has all steps. Its
-- entity tag is a hash of them. Steps come in the order of their names. What is named is there also if it is not listed;
-- 'g', step, '' only names one.
local lead, submitted, day = KEYS[3], KEYS[5], 24 * 3600 * 1000
local condition, now, ttl, space = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
local listed = 'form_data_'

local names, values, bytes = {}, {}, 0
local function look(step)
  local value = not values[step] and redis.call('GET', lead .. step)
  if value then
    names[#names + 1], values[step], bytes = step, value, bytes + #value
  end
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(name, 1, #listed) == listed then
    look(string.sub(name, #listed + 1))
  end
end
for i = 10, #ARGV, 3 do
  if ARGV[i] == 's' or ARGV[i] == 'd' or ARGV[i] == 'g' then
    look(ARGV[i + 1])
  end
end

local function tag()
  table.sort(names)
  local text = {}
  for _, step in ipairs(names) do
    text[#text + 1] = step .. ' ' .. redis.sha1hex(values[step])
  end
  return #text > 0 and string.sub(redis.sha1hex(table.concat(text, '\n')), 1, 20) or ''
end
local before = tag()

local function answer(status, after, left, id)
  local reply = { status, before, after, '', left, id }
  for _, step in ipairs(names) do
    reply[#reply + 1], reply[#reply + 2] = step, values[step]
  end
  return reply
end

local function set(step, value)
  redis.call('SET', lead .. step, value, 'PX', ttl)
  note(KEYS[1], KEYS[2], space, ttl, listed .. step)
end

local function delete(step)
  redis.call('DEL', lead .. step)
  forget(KEYS[1], KEYS[2], space, listed .. step)
end

local function load()
  names, values = {}, {}
  local fields = redis.call('HGETALL', submitted)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '.' then
      local step = string.sub(fields[i], 2)
      names[#names + 1], values[step] = step, fields[i + 1]
    end
  end
  table.sort(names)
end

local what = ARGV[10]
if what == 'm' then
  local id, fingerprint, done, kept = ARGV[11], ARGV[12], ARGV[13], ARGV[16]
  local last = redis.call('HMGET', submitted, 'id', 'fp', 'done', 'at')
  local keyed = string.find(kept, '/', 1, true)
  if keyed and last[3] and last[2] ~= fingerprint then
    return { 'reused', before }
  elseif last[3] and (keyed or before == '' and last[3] == '0' and now - last[4] > tonumber(ARGV[14])) then
    redis.call('HSET', submitted, 'at', now)
    load()
    return answer('again', '', 0, last[1])
  elseif before == '' and met(condition, '') then
    return { 'noform', '' }
  elseif not met(condition, before) then
    return { 'unmet', before }
  elseif bytes > tonumber(ARGV[9]) then
    return { 'bytes', before }
  end
  local old = redis.call('HMGET', submitted, 'id', 'ie')
  if old[1] and old[2] == before then
    id = old[1] -- It was put back, but perhaps it was published then.
  end
  redis.call('DEL', submitted)
  redis.call('HSET', submitted, 'id', id, 'ie', before, 'fp', fingerprint, 'done', done, 'at', now)
  for _, step in ipairs(names) do
    redis.call('HSET', submitted, '.' .. step, values[step])
    delete(step)
  end
  redis.call('PEXPIRE', submitted, ttl)
  note(KEYS[6], KEYS[7], ARGV[15], ttl, kept)
  redis.call('SET', KEYS[4], now, 'PX', day)
  return answer('ok', '', 0, id)
elseif what == 'f' or what == 'r' then
  if redis.call('HGET', submitted, 'id') == ARGV[11] then
    if what == 'f' then
      redis.call('HSET', submitted, 'done', '1')
    elseif before == '' then
      load()
      redis.call('DEL', KEYS[4]) -- First what frees memory: after that Redis does not refuse the rest for want of it.
      redis.call('HDEL', submitted, 'fp', 'done', 'at') -- It stays, so that the id is known if this is submitted again.
      for _, step in ipairs(names) do
        set(step, values[step])
      end
    end
  end
  return { 'ok', before, before }
end

if not met(condition, before) then
  return { 'unmet', before }
elseif before == '' and what ~= 's' then
  return { 'noform', '' }
elseif not what or what == 'g' then
  local left = -2
  for _, step in ipairs(names) do
    left = math.max(left, redis.call('PTTL', lead .. step))
  end
  return answer('ok', before, left, '')
elseif what == 'x' then
  redis.call('SET', KEYS[4], now, 'PX', day)
  for _, step in ipairs(names) do
    delete(step)
  end
  return { 'ok', before, '' }
end

local steps = #names
for i = 10, #ARGV, 3 do
  local old, value = values[ARGV[i + 1]], ARGV[i + 2]
  if ARGV[i] == 's' then
    steps, bytes = steps + (old and 0 or 1), bytes + #value - (old and #old or 0)
  elseif not old then
    return { 'nostep', before }
  else
    steps, bytes = steps - 1, bytes - #old
  end
end
if steps > tonumber(ARGV[8]) then
  return { 'steps', before }
elseif bytes > tonumber(ARGV[9]) then
  return { 'bytes', before }
end
for i = 10, #ARGV, 3 do
  local step = ARGV[i + 1]
  values[step] = nil
  if ARGV[i] == 's' then
    values[step] = ARGV[i + 2]
  else
    delete(step)
  end
end
names = {}
for step, value in pairs(values) do
  names[#names + 1] = step
  set(step, value)
end
return answer('ok', tag(), ttl, '')
