-- Takes over entries that somebody took and did not acknowledge.   KEYS: log.   ARGV: group, consumer, milliseconds
-- without a word, where to begin, most entries.
-- Returns where to go on ('0-0' at the end), how many entries the log no longer holds, and of each other its id and event.
--
-- Only ids are asked for: before version 7, Redis returned holes for what the log no longer holds, and kept it pending.
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
local reply = { claimed[1], claimed[3] and #claimed[3] or 0 }
for _, id in ipairs(claimed[2]) do
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then
    reply[2] = reply[2] + redis.call('XACK', KEYS[1], ARGV[1], id)
  else
    local event = ''
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'e' then
        event = entry[2][i + 1]
      end
    end
    table.insert(reply, id)
    table.insert(reply, event)
  end
end
return reply
