-- What the queue of writes to the menu source does, one operation a call, each all or nothing.
--
-- KEYS[1] stream: an entry for each write, and for each time when a key's turn has come again
-- KEYS[2] hash, by key ("user_id:type"): the last write that is not delivered, as "id attempts entry menu"
-- KEYS[3] sorted set of keys that are not to be tried before their score, in milliseconds
-- KEYS[4] hash, by key: who delivers it, as "token until", in milliseconds
-- KEYS[5] stream of dead letters   KEYS[6] hash, by key: the id of its dead letter   KEYS[7] the last id given
-- ARGV[1] the operation   ARGV[2] the consumer group   ARGV[3] and on: see the operation
--
-- What holds, between any two calls: a key has at most one write, in KEYS[2] or in KEYS[5], and that is the last one that
-- was acknowledged. A key in KEYS[2] comes up again: it has an entry in the stream that nobody has acknowledged, or a
-- score in KEYS[3], or it is being delivered by one who holds such an entry.
local writes, pending, retry, leases, dead, buried, lastID = unpack(KEYS)
local group, key = ARGV[2], ARGV[3]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(n)
  return string.format('%.0f', n)
end

-- Ids grow even when the clock does not, and when all of this was lost.
local function nextID()
  local id = whole(math.max(time[1] * 1000000 + time[2], (redis.call('GET', lastID) or 0) + 1))
  redis.call('SET', lastID, id)
  return id
end

local function load(k)
  local value = redis.call('HGET', pending, k)
  if not value then
    return nil
  end
  local _, last, id, attempts, entry = string.find(value, '^(%d+) (%d+) (%d+%-%d+) ')
  if not id then -- Nobody's but ours should be there.
    redis.call('HDEL', pending, k)
    return nil
  end
  return { id = id, attempts = tonumber(attempts), entry = entry, menu = string.sub(value, last + 1) }
end

local function store(k, write)
  redis.call('HSET', pending, k, write.id .. ' ' .. write.attempts .. ' ' .. write.entry .. ' ' .. write.menu)
end

local function queue(k, write)
  write.entry = redis.call('XADD', writes, '*', 'key', k)
  store(k, write)
end

local function queueNow(k, write)
  redis.call('ZREM', retry, k)
  queue(k, write)
end

local function tryAt(k, at)
  redis.call('ZADD', retry, whole(at), k)
end

local function drop(k)
  redis.call('HDEL', pending, k)
  redis.call('ZREM', retry, k)
end

local function done(entry)
  redis.call('XACK', writes, group, entry)
  redis.call('XDEL', writes, entry)
end

-- Returns the token of the one who delivers the key, and until when.
local function lease(k)
  local token, untilWhen = string.match(redis.call('HGET', leases, k) or '', '^(%S+) (%d+)$')
  untilWhen = tonumber(untilWhen)
  if untilWhen and untilWhen > now then
    return token, untilWhen
  end
  return nil
end

local function take(k, token, ms)
  redis.call('HSET', leases, k, token .. ' ' .. whole(now + ms))
end

-- Gives the lease back, and returns until when somebody else has it who has taken it meanwhile.
local function release(k, token)
  local holder, untilWhen = lease(k)
  if holder and holder ~= token then
    return untilWhen
  end
  redis.call('HDEL', leases, k)
  return nil
end

-- Removes a dead letter, and returns its key.
local function remove(letter)
  local k = letter[2][2] .. ':' .. letter[2][4]
  redis.call('XDEL', dead, letter[1])
  if redis.call('HGET', buried, k) == letter[1] then
    redis.call('HDEL', buried, k)
  end
  return k
end

-- Removes a key's dead letter, and returns how many that are.
local function exhume(k)
  local id = redis.call('HGET', buried, k)
  if not id then
    return 0
  end
  redis.call('HDEL', buried, k)
  return redis.call('XDEL', dead, id)
end

local function bury(k, write, problem, most)
  local user, typ = string.match(k, '^([^:]*):?(.*)$')
  drop(k)
  exhume(k)
  redis.call('HSET', buried, k, redis.call('XADD', dead, '*', 'user_id', user, 'type', typ, 'menu', write.menu,
    'attempts', write.attempts, 'problem', problem, 'at', whole(now)))
  while redis.call('XLEN', dead) > most do
    local oldest = redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1]
    remove(oldest)
  end
end

local operations = {}

-- add: 3 key, 4 menu. Returns the write's id, and how many older writes it took the place of.
function operations.add()
  local replaced = redis.call('HEXISTS', pending, key) + exhume(key)
  local write = { id = nextID(), attempts = 0, menu = ARGV[4] }
  queue(key, write) -- Not before its time, if the key waits for one: the source is not well.
  return { write.id, replaced }
end

-- claim: 3 key, 4 entry, 5 token, 6 lease in ms. Returns id, attempts and menu of the write to deliver, whatever write
-- the entry was made for, or nothing when there is none, or not now.
function operations.claim()
  local write = load(key)
  local due = redis.call('ZSCORE', retry, key)
  if write and not (due and tonumber(due) > now) then
    local _, busy = lease(key)
    if not busy then
      redis.call('ZREM', retry, key)
      take(key, ARGV[5], ARGV[6])
      return { write.id, write.attempts, write.menu }
    end
    tryAt(key, busy) -- The one who is at it sees to it sooner, unless it dies.
  end
  done(ARGV[4])
  return false
end

-- finish: 3 key, 4 entry, 5 token, 6 id of the write, 7 outcome (delivered, refused or failed), 8 ms until the next try,
-- 9 attempts to make, 10 problem, 11 dead letters to keep. Returns what became of the write.
function operations.finish()
  local outcome, pause = ARGV[7], tonumber(ARGV[8])
  done(ARGV[4])
  local lost, write = release(key, ARGV[5]), load(key)
  if lost then
    if write then
      tryAt(key, lost)
    end
    return 'lost'
  end
  if not write then
    return outcome == 'delivered' and outcome or 'superseded'
  end
  if write.id ~= ARGV[6] then -- A newer one came meanwhile.
    if outcome == 'failed' then
      tryAt(key, now + pause)
    else
      queueNow(key, write)
    end
    return outcome == 'delivered' and outcome or 'superseded'
  end
  if outcome == 'delivered' then
    drop(key)
    return outcome
  end
  write.attempts = write.attempts + 1
  if outcome == 'refused' or write.attempts >= tonumber(ARGV[9]) then
    bury(key, write, ARGV[10], tonumber(ARGV[11]))
    return 'dead'
  end
  store(key, write)
  tryAt(key, now + pause)
  return 'retried'
end

-- lock: 3 key, 4 token, 5 lease in ms. Returns an id for a write past the queue and the id of the write that waits, which
-- may be '', or nothing while the key is delivered. The one that waits gets an id after that of the other, whose place it
-- takes if the other fails, when nobody knows what the source made of it.
function operations.lock()
  if lease(key) then
    return false
  end
  take(key, ARGV[4], ARGV[5])
  local id, write = nextID(), load(key)
  if write then
    write.id = nextID()
    store(key, write)
  end
  return { id, write and write.id or '' }
end

-- unlock: 3 key, 4 token, 5 id of the write that waited, 6 outcome. Returns how many older writes a delivered one took the
-- place of.
function operations.unlock()
  local _, untilWhen = lease(key)
  local lost, write, replaced = release(key, ARGV[4]), load(key), 0
  if ARGV[6] == 'delivered' then
    replaced = exhume(key)
    if write and write.id == ARGV[5] then
      drop(key)
      return replaced + 1
    end
  end
  local due = redis.call('ZSCORE', retry, key)
  if write and not lost and due and tonumber(due) == untilWhen then -- It waits for this.
    queueNow(key, write)
  end
  return replaced
end

-- promote: 3 how many at most. Queues the keys whose time has come. Returns the ms until the next one's, -1 for never.
function operations.promote()
  for _, k in ipairs(redis.call('ZRANGEBYSCORE', retry, '-inf', whole(now), 'LIMIT', 0, ARGV[3])) do
    local write = load(k)
    redis.call('ZREM', retry, k)
    if write then
      queue(k, write)
    end
  end
  local first = redis.call('ZRANGE', retry, 0, 0, 'WITHSCORES')
  return first[2] and math.max(first[2] - now, 0) or -1
end

-- sweep: 3 cursor, 4 ms after which a write may have been forgotten. Queues what nothing else brings up again. Returns
-- the next cursor.
function operations.sweep()
  local page = redis.call('HSCAN', pending, ARGV[3], 'COUNT', 100)
  for i = 1, #page[2], 2 do
    local k = page[2][i]
    local write = load(k)
    if write and write.id / 1000 + ARGV[4] <= now and not redis.call('ZSCORE', retry, k) and not lease(k)
      and #redis.call('XRANGE', writes, write.entry, write.entry) == 0 then
      queue(k, write)
    end
  end
  return page[1]
end

-- revive: 3 id of a dead letter. Queues it again, as a new write. Returns 1, or 0 when there is none.
function operations.revive()
  local letter = redis.call('XRANGE', dead, ARGV[3], ARGV[3])[1]
  if not letter then
    return 0
  end
  local k = remove(letter)
  if redis.call('HEXISTS', pending, k) == 1 then
    return 0
  end
  queueNow(k, { id = nextID(), attempts = 0, menu = letter[2][6] })
  return 1
end

-- forget: 3 consumer that is leaving, or '', 4 ms after which another is taken for dead. Consumers that hold nothing go.
function operations.forget()
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', writes, group)) do
    local c = {}
    for i = 1, #info, 2 do
      c[info[i]] = info[i + 1]
    end
    if c.pending == 0 and (c.name == ARGV[3] or c.idle > tonumber(ARGV[4])) then
      redis.call('XGROUP', 'DELCONSUMER', writes, group, c.name)
    end
  end
  return 0
end

return operations[ARGV[1]]()
