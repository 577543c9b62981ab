-- Appends one event to its channel's log, once, and tells those who listen. Everything happens in this one script, so
-- that the log and what is published cannot part, and no retry can append twice.
--
-- KEYS[1] the log   KEYS[2] remembers the event's id   KEYS[3] remembers the idempotency key, if there is one
-- ARGV[1] the Pub/Sub channel to tell   ARGV[2] the envelope without offset and closing brace
-- ARGV[3] entries to keep   ARGV[4] milliseconds to keep them   ARGV[5] id before which entries are too old
-- ARGV[6] milliseconds to remember id and key   ARGV[7] event id   ARGV[8] timestamp and type, for the receipt
-- ARGV[9] channel whose subscribers are the bridges, which are not counted   ARGV[10] fingerprint that goes with the key
--
-- Returns {what, receipt}: what is 'new', 'seen' or 'reused' (the key came with another message); the receipt is
-- 'id offset subscribers timestamp type'.
local remembered = KEYS[3] and redis.call('GET', KEYS[3])
if remembered then
  local fingerprint, receipt = string.match(remembered, '^(%S+) (.*)$')
  if fingerprint ~= ARGV[10] then
    return {'reused', ''}
  end
  return {'seen', receipt}
end

local what = 'seen'
local receipt = redis.call('GET', KEYS[2])
if not receipt then
  what = 'new'
  local offset = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[2])
  redis.call('XTRIM', KEYS[1], 'MINID', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  local heard = redis.call('PUBLISH', ARGV[1], ARGV[2] .. ',"offset":"' .. offset .. '"}')
  local bridges = redis.call('PUBSUB', 'NUMSUB', ARGV[9])[2]
  receipt = ARGV[7] .. ' ' .. offset .. ' ' .. math.max(heard - bridges, 0) .. ' ' .. ARGV[8]
  redis.call('SET', KEYS[2], receipt, 'PX', ARGV[6])
end
if KEYS[3] then
  redis.call('SET', KEYS[3], ARGV[10] .. ' ' .. receipt, 'PX', ARGV[6])
end
return {what, receipt}
