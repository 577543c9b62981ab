-- What the queue of jobs does, one operation a call, each all or nothing, by the clock of Redis, in microseconds.
--
-- KEYS[1] sorted set of the ids of the jobs that wait: queued ones by when they are due, running ones by when their lease ends
-- KEYS[2] sorted set of the same, by when they were added or revived
-- KEYS[3] sorted set of the ids of dead jobs, by when they were buried
-- KEYS[4] what the keys of jobs begin with
-- KEYS[5] "number id" of the last job that the calling process took
-- ARGV[1] the operation   ARGV[2] the id of a job, where there is one   ARGV[3] and on: see the operation
--
-- A job is a hash: state (queued, running, done, dead), fp, payload, attempts in its round that count, waits: those that do
-- not, round, created, since when it was
-- added or revived last, updated, token of who took it last, problem, result. What holds, between any two calls: a queued or
-- running job is in both of the first two sets, a dead one in the third, and a done one in none.
--
-- Redis that is out of memory refuses what may take some, unless the script has changed something before. So only add and
-- decide, which begin with such a command, are refused then: the others begin with one that frees.
local waiting, since, dead, jobs, took = unpack(KEYS)
local id = ARGV[2]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function whole(n)
  return string.format('%.0f', n)
end

local function read(k, ...)
  return redis.call('HMGET', jobs .. k, ...)
end

local function change(k, ...)
  redis.call('HSET', jobs .. k, 'updated', whole(now), ...)
end

local function await(k, at)
  redis.call('ZREM', waiting, k)
  redis.call('ZADD', waiting, whole(at), k)
end

local function leave(k)
  redis.call('ZREM', waiting, k)
  redis.call('ZREM', since, k)
end

-- Buries a job, and removes dead ones that are older than keep, in milliseconds, or more than most; some of them, so that no
-- call takes long.
local function bury(k, problem, keep, most)
  leave(k)
  change(k, 'state', 'dead', 'problem', problem)
  redis.call('PEXPIRE', jobs .. k, keep)
  redis.call('ZADD', dead, whole(now), k)
  redis.call('PEXPIRE', dead, keep)
  for _ = 1, 100 do
    local oldest = redis.call('ZRANGE', dead, 0, 0, 'WITHSCORES')
    if redis.call('ZCARD', dead) <= tonumber(most) and tonumber(oldest[2]) > now - keep * 1000 then
      break
    end
    redis.call('ZREM', dead, oldest[1])
    redis.call('DEL', jobs .. oldest[1])
  end
end

-- Whether the token of ARGV[3] has the job.
local function held()
  local job = read(id, 'state', 'token')
  return job[1] == 'running' and job[2] == ARGV[3]
end

-- Returns {id, when it is due or its lease ends or 0, state, attempts, round, created, updated, problem, and result if that
-- is wanted}. There is no state if there is no job.
local function describe(k, result)
  local due = redis.call('ZSCORE', waiting, k)
  local all = { k, due and whole(tonumber(due)) or '0' }
  for _, value in ipairs(read(k, 'state', 'attempts', 'round', 'created', 'updated', 'problem')) do
    all[#all + 1] = value
  end
  if all[4] then
    all[4] = all[4] + (redis.call('HGET', jobs .. k, 'waits') or 0)
  end
  if result then
    all[#all + 1] = redis.call('HGET', jobs .. k, 'result')
  end
  return all
end

local operations = {}

-- add: 3 fingerprint, 4 payload, 5 how many may wait. Returns what became of it (added, known, reused or full), and the job.
function operations.add()
  local known = redis.call('HGET', jobs .. id, 'fp')
  if known and known ~= ARGV[3] then
    return { 'reused' }
  elseif known then
    return { 'known', describe(id, true) }
  elseif redis.call('ZCARD', waiting) >= tonumber(ARGV[5]) then
    return { 'full' }
  end
  local at = whole(now)
  redis.call('HSET', jobs .. id, 'state', 'queued', 'fp', ARGV[3], 'payload', ARGV[4], 'attempts', 0, 'round', 0,
    'created', at, 'since', at, 'updated', at)
  redis.call('ZADD', waiting, at, id)
  redis.call('ZADD', since, at, id)
  return { 'added', describe(id, true) }
end

-- take: 2 '', 3 token, 4 its number, which grows with each token of a process, 5 lease, 6 takings in a round after which a
-- job is buried, 7 the problem it then has, 8 ms for which dead ones are kept, 9 how many are kept. The same token takes the
-- same job: that is how a process asks again that did not get the reply. Returns {how many jobs were buried, how long until
-- the next is due or its lease ends, -1 for never}, or {how many, 0, id, attempts, round, created, since when, waits, now,
-- payload, result}.
function operations.take()
  local function take(k, buried)
    await(k, now + ARGV[5])
    redis.call('SET', took, ARGV[4] .. ' ' .. k, 'PX', math.ceil(ARGV[5] / 1000) + 1)
    local reply = { buried, 0, k }
    for _, value in ipairs(read(k, 'attempts', 'round', 'created', 'since')) do
      reply[#reply + 1] = value
    end
    local data = read(k, 'waits', 'payload', 'result')
    reply[8], reply[9], reply[10], reply[11] = data[1] or 0, whole(now), data[2], data[3]
    return reply
  end

  local number, last = string.match(redis.call('GET', took) or '', '^(%d+) (.*)$')
  if number and tonumber(number) >= tonumber(ARGV[4]) then
    id = last
    if number == ARGV[4] and held() then
      return take(id, 0)
    end
    return { 0, 0 } -- It came late: the process has done with that token.
  end

  local buried = 0
  for _ = 1, 100 do
    local k = redis.call('ZRANGEBYSCORE', waiting, '-inf', whole(now), 'LIMIT', 0, 1)[1]
    if not k then
      break
    end
    local attempts = redis.call('HGET', jobs .. k, 'attempts')
    if not attempts then -- Somebody else deleted it.
      leave(k)
    elseif tonumber(attempts) >= tonumber(ARGV[6]) then
      redis.call('HDEL', jobs .. k, 'token') -- Who had it does so no longer.
      bury(k, ARGV[7], ARGV[8], ARGV[9])
      buried = buried + 1
    else
      redis.call('ZREM', waiting, k)
      change(k, 'state', 'running', 'token', ARGV[3], 'attempts', attempts + 1)
      return take(k, buried)
    end
  end
  local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  return { buried, first[2] and math.max(first[2] - now, 0) or -1 }
end

-- renew: 3 token, 4 lease. Returns {1}, or {0} when another has the job or nobody.
function operations.renew()
  if not held() then
    return { 0 }
  end
  await(id, now + ARGV[4])
  return { 1 }
end

-- decide: 3 token, 4 result. Returns {1, the result that was decided first}, or {0} when another has the job or nobody.
function operations.decide()
  if not held() then
    return { 0 }
  end
  redis.call('HSETNX', jobs .. id, 'result', ARGV[4])
  return { 1, redis.call('HGET', jobs .. id, 'result') }
end

-- finish: 3 token, 4 outcome (done, retry, wait, bury or release), 5 how long until it is due, 6 problem, 7 ms for which a done job
-- is kept, 8 ms for which dead ones are, 9 how many. Returns {1}, or {0} when another has the job or nobody.
function operations.finish()
  local job, outcome = read(id, 'state', 'token', 'attempts'), ARGV[4]
  if job[2] ~= ARGV[3] then
    return { 0 }
  elseif job[1] ~= 'running' then
    return { 1 } -- It was done, but the caller did not get the reply.
  end
  if outcome == 'done' then
    leave(id)
    redis.call('HDEL', jobs .. id, 'payload', 'problem')
    change(id, 'state', 'done')
    redis.call('PEXPIRE', jobs .. id, ARGV[7])
  elseif outcome == 'bury' then
    bury(id, ARGV[6], ARGV[8], ARGV[9])
  elseif outcome == 'retry' then
    await(id, now + ARGV[5])
    change(id, 'state', 'queued', 'problem', ARGV[6])
  elseif outcome == 'wait' then
    await(id, now + ARGV[5])
    redis.call('HINCRBY', jobs .. id, 'waits', 1)
    change(id, 'state', 'queued', 'problem', ARGV[6], 'attempts', job[3] - 1)
  else
    await(id, now)
    change(id, 'state', 'queued', 'attempts', job[3] - 1)
  end
  return { 1 }
end

-- revive: queues a dead job again, 3 '1' without its result. Returns {its state before}, or {''} when there is none.
function operations.revive()
  local job = read(id, 'state', 'round')
  if job[1] == 'dead' then
    redis.call('ZREM', dead, id)
    redis.call('HDEL', jobs .. id, 'token', 'waits')
    if ARGV[3] == '1' then
      redis.call('HDEL', jobs .. id, 'result')
    end
    change(id, 'state', 'queued', 'attempts', 0, 'round', job[2] + 1, 'since', whole(now))
    redis.call('PERSIST', jobs .. id)
    redis.call('ZADD', waiting, whole(now), id)
    redis.call('ZADD', since, whole(now), id)
  end
  return { job[1] or '' }
end

-- get: returns the job.
function operations.get()
  return describe(id, true)
end

-- list: 2 waiting or dead, 3 how many at most, 4 and 5 the score and id that the page comes after, or ''. Returns {score and
-- id that the next page comes after, or '' and '', then the jobs}. Waiting ones come in the order of their scores, dead ones
-- the newest first.
function operations.list()
  local set, most, score, last = waiting, tonumber(ARGV[3]), ARGV[4], ARGV[5]
  local rank, range, from = 'ZRANK', 'ZRANGE', 0
  if id == 'dead' then
    set, rank, range = dead, 'ZREVRANK', 'ZREVRANGE'
  end
  if score ~= '' then
    local there = redis.call('ZSCORE', set, last)
    if there and tonumber(there) == tonumber(score) then
      from = redis.call(rank, set, last) + 1
    elseif set == dead then
      from = redis.call('ZCOUNT', set, '(' .. score, '+inf')
    else
      from = redis.call('ZCOUNT', set, '-inf', '(' .. score)
    end
  end
  local page, answer = redis.call(range, set, from, from + most - 1, 'WITHSCORES'), { '', '' }
  for i = 1, #page, 2 do
    answer[#answer + 1] = describe(page[i], false)
  end
  if from + most < redis.call('ZCARD', set) then
    answer[1], answer[2] = whole(tonumber(page[#page])), page[#page - 1]
  end
  return answer
end

-- depth: 2 ms for which dead jobs are kept. Returns {how many jobs wait, how many are dead, the age of the oldest that waits}.
function operations.depth()
  local oldest = redis.call('ZRANGE', since, 0, 0, 'WITHSCORES')[2]
  return { redis.call('ZCARD', waiting), redis.call('ZCOUNT', dead, '(' .. whole(now - id * 1000), '+inf'),
    oldest and math.max(now - oldest, 0) or 0 }
end

return operations[ARGV[1]]()
