-- Appends one event to its channel's log, once, and tells those who listen. Everything happens in this one script, so
-- that the log and what is published cannot part, and no retry can append twice.
--
-- KEYS[1] the log   KEYS[2] remembers the event's id, if anything is to   KEYS[3] remembers the idempotency key, if there is one
-- ARGV[1] the Pub/Sub channel to tell   ARGV[2] the envelope without offset and closing brace
-- ARGV[3] entries to keep   ARGV[4] milliseconds to keep the log   ARGV[5] milliseconds after which an entry is too old
-- ARGV[6] '1' when it is time to drop what is too old and to renew the log's expiry
-- ARGV[7] '1' when the id may have been seen before, as the hub's own fresh ids cannot
-- ARGV[8] milliseconds to remember id and key   ARGV[9] the end of the receipt
-- ARGV[10] channel whose subscribers are the bridges, which are not counted   ARGV[11] fingerprint that goes with the key
--
-- A receipt is 'offset subscribers ' and ARGV[9]. Returns '+offset subscribers' when the event is new, '=' and the first
-- receipt when it was seen before, '!' when the idempotency key came with another message.
local key = KEYS[3]
if key then
  local remembered = redis.call('GET', key)
  if remembered then
    local fingerprint, receipt = string.match(remembered, '^(%S+) (.*)$')
    return fingerprint == ARGV[11] and '=' .. receipt or '!'
  end
end

local receipt = ARGV[7] == '1' and redis.call('GET', KEYS[2])
local answer = receipt and '=' .. receipt
if not receipt then
  local offset = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[2])
  if not offset or ARGV[6] == '1' then
    offset = offset or redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
    -- The entry's own time counts: no hub's clock can make what was just added too old.
    local oldest = math.max(tonumber(string.match(offset, '^%d+')) - ARGV[5], 0)
    redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', oldest))
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
  end
  local heard = redis.pcall('PUBLISH', ARGV[1], ARGV[2] .. ',"offset":"' .. offset .. '"}')
  if type(heard) == 'table' then -- An error, such as an ACL without this channel: what was not published is not logged.
    redis.call('XDEL', KEYS[1], offset)
    return heard
  end
  if heard > 0 then
    local bridges = redis.pcall('PUBSUB', 'NUMSUB', ARGV[10])
    heard = math.max(heard - (bridges[2] or 0), 0)
  end
  local new = offset .. ' ' .. heard
  answer = '+' .. new
  receipt = new .. ' ' .. ARGV[9]
  if KEYS[2] then
    redis.call('SET', KEYS[2], receipt, 'PX', ARGV[8])
  end
end
if key then
  redis.call('SET', key, ARGV[11] .. ' ' .. receipt, 'PX', ARGV[8])
end
return answer
