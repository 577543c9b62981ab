-- Whether a condition is met by what has an entity tag; there is nothing if that is ''. Conditions: '' always, '*' when
-- there is something, '-' when there is nothing, '= tag tag …' when it has one of these tags.
local function met(condition, tag)
  if condition == '' then
    return true
  elseif condition == '*' then
    return tag ~= ''
  elseif condition == '-' then
    return tag == ''
  end
  return tag ~= '' and string.find(condition .. ' ', ' ' .. tag .. ' ', 1, true) ~= nil
end

-- The entity tag of a value.
local function tagOf(key)
  local value = redis.call('GET', key)
  return value and string.sub(redis.sha1hex(value), 1, 20) or ''
end

