package jobqueue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestScriptIsWhatTheModelSays does what processes and operators may do, in any order, and compares all that can be seen.
// Its time has two points only: what is due at once, and what is due in an hour.
func TestScriptIsWhatTheModelSays(t *testing.T) {
	t.Parallel()
	embedded, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.Close)
	for name, url := range map[string]string{"redis": redistest.Shared(t).URL(), "embedded": embedded.URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, err := redisconn.Open(url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = rdb.Close() })
			round := 0
			prefix := redistest.Prefix(t)
			rapid.Check(t, func(rt *rapid.T) {
				if round++; round > 20 && name == "embedded" {
					return // It compiles the script for each call.
				}
				m := newModel(t, rdb, fmt.Sprint(prefix, round))
				rt.Repeat(map[string]func(*rapid.T){
					"add": m.add, "take": m.take, "take again": m.takeAgain, "take late": m.takeLate,
					"renew": m.renew, "decide": m.decide, "finish": m.finish, "revive": m.revive, "": m.compare,
				})
			})
		})
	}
}

// Who had a job that was buried because it was taken too often has lost it, and does not write over that.
func TestWhoKeptAJobTooLongHasLostIt(t *testing.T) {
	t.Parallel()
	m := newModel(t, redistest.Shared(t).Client(), redistest.Prefix(t))
	if _, _, err := m.queue.Add(t.Context(), Add{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	do := func(operation string, args ...any) reply {
		t.Helper()
		values, err := m.queue.do(t.Context(), operation, 1, operation, args...)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	for number := range modelTakings + 1 {
		values := do("take", "", fmt.Sprint("token", number), number, 0, modelTakings, tooOften, 60_000, modelDead)
		if taken := number < modelTakings; values.has(2) != taken || (values.number(0) == 1) == taken {
			t.Error(number, values)
		}
	}
	last := fmt.Sprint("token", modelTakings-1)
	if values := do("finish", "a", last, done, 0, "", 60_000, 60_000, modelDead); values.number(0) != 0 {
		t.Error("its outcome was taken for written")
	}
}

// model is what there should be.
type model struct {
	t     *testing.T
	queue *Queue
	jobs  map[string]*modelJob
	clock int // How many changes there were.
	// takes counts takes; holders are those that took a job, newest last.
	takes   int
	holders []holder
	// known is whether Redis still knows what the last take took.
	known bool
}

type holder struct{ id, token string }

type modelJob struct {
	fingerprint, token, problem string
	state                       State
	attempts, waits, round      int
	// at is when it is due, or was buried, where an hour is more than all changes.
	at      int
	result  string
	decided bool
}

const (
	modelHour    = 1_000_000
	modelWaiting = 6
	modelDead    = 3
	modelTakings = 4
	tooOften     = "too often"
)

func newModel(t *testing.T, rdb *redis.Client, prefix string) *model {
	t.Helper()
	q, err := New(Config{Redis: rdb, Prefix: prefix, MaxWaiting: modelWaiting, MaxDead: modelDead, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return &model{t: t, queue: q, jobs: map[string]*modelJob{}}
}

func (m *model) do(rt *rapid.T, operation string, args ...any) reply {
	rt.Helper()
	values, err := m.queue.do(m.t.Context(), operation, 1, operation, args...)
	if err != nil {
		rt.Fatal(err)
	}
	return values
}

func (m *model) now() int {
	m.clock++
	return m.clock
}

// soon draws what is in microseconds 0 or an hour, and returns it for the model, too.
func (m *model) soon(rt *rapid.T) (micros int64, at int) {
	if rapid.Bool().Draw(rt, "at once") {
		return 0, m.now()
	}
	return time.Hour.Microseconds(), m.now() + modelHour
}

func drawID(rt *rapid.T) string {
	return rapid.SampledFrom(strings.Split("abcdefgh", "")).Draw(rt, "id")
}

// in returns the ids of the jobs that are in one of two states, in the order of their times.
func (m *model) in(one, other State) []string {
	var ids []string
	for id, job := range m.jobs {
		if job.state == one || job.state == other {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(m.jobs[a].at, m.jobs[b].at) })
	return ids
}

func (m *model) waiting() []string { return m.in(Queued, Running) }

func (m *model) bury(id, problem string) {
	job := m.jobs[id]
	job.state, job.problem, job.at = Dead, problem, m.now()
	for dead := m.in(Dead, Dead); len(dead) > modelDead; dead = dead[1:] {
		delete(m.jobs, dead[0])
	}
}

func (m *model) add(rt *rapid.T) {
	id, fingerprint := drawID(rt), rapid.SampledFrom([]string{"", "f"}).Draw(rt, "fingerprint")
	status, added, err := m.queue.Add(m.t.Context(), Add{ID: id, Fingerprint: fingerprint, Payload: []byte("payload of " + id)})
	switch job := m.jobs[id]; {
	case job != nil && job.fingerprint != fingerprint:
		same(rt, err, ErrReused)
		return
	case job != nil:
		same(rt, added, false)
	case len(m.waiting()) >= modelWaiting:
		same(rt, err, ErrFull)
		return
	default:
		m.jobs[id] = &modelJob{fingerprint: fingerprint, state: Queued, at: m.now()}
		same(rt, added, true)
	}
	same(rt, err, nil)
	m.compareJob(rt, id, status)
}

func (m *model) ask(rt *rapid.T, number int, lease int64) reply {
	return m.do(rt, "take", "", fmt.Sprint("token", number), number, lease, modelTakings, tooOften, time.Hour.Milliseconds(), modelDead)
}

func (m *model) take(rt *rapid.T) {
	lease, until := m.soon(rt)
	m.takes++
	values := m.ask(rt, m.takes, lease)
	buried := 0
	for _, id := range m.waiting() {
		job := m.jobs[id]
		if job.at >= modelHour {
			break
		}
		if job.attempts == modelTakings {
			job.token = ""
			m.bury(id, tooOften)
			buried++
			continue
		}
		job.state, job.attempts, job.token, job.at = Running, job.attempts+1, fmt.Sprint("token", m.takes), until
		m.holders = append(m.holders, holder{id, job.token})
		m.known = lease > 0
		same(rt, values.number(0), int64(buried))
		m.compareTaken(rt, values, id)
		return
	}
	same(rt, values.number(0), int64(buried))
	same(rt, values.has(2), false)
	if waiting := len(m.waiting()) > 0; waiting != (values.number(1) > 0) || !waiting && values.number(1) != -1 {
		rt.Fatalf("the next is due in %d", values.number(1))
	}
}

func (m *model) compareTaken(rt *rapid.T, values reply, id string) {
	job := m.jobs[id]
	same(rt, values.text(2), id)
	same(rt, values.number(3), int64(job.attempts))
	same(rt, values.number(4), int64(job.round))
	same(rt, values.number(7), int64(job.waits))
	same(rt, values.text(9), " payload of "+id)
	same(rt, values.has(10), job.decided)
	same(rt, values.text(10), job.result)
}

// takeAgain is a process that did not get the reply.
func (m *model) takeAgain(rt *rapid.T) {
	if !m.known {
		return
	}
	last := m.holders[len(m.holders)-1]
	var number int
	if _, err := fmt.Sscanf(last.token, "token%d", &number); err != nil {
		rt.Fatal(err)
	}
	values := m.ask(rt, number, time.Hour.Microseconds())
	if job := m.jobs[last.id]; job != nil && job.state == Running && job.token == last.token {
		job.at = m.now() + modelHour
		m.compareTaken(rt, values, last.id)
		return
	}
	same(rt, values.has(2), false)
}

// takeLate is a take that Redis did not come to until the process had its reply to the next.
func (m *model) takeLate(rt *rapid.T) {
	if m.known {
		same(rt, m.ask(rt, 0, time.Hour.Microseconds()).has(2), false)
	}
}

// held draws one who has or had a job, and returns the job if he still has it.
func (m *model) held(rt *rapid.T) (holder, *modelJob) {
	if len(m.holders) == 0 {
		return holder{"a", "nobody"}, nil
	}
	one := m.holders[max(0, len(m.holders)-1-rapid.IntRange(0, 4).Draw(rt, "ago"))]
	job := m.jobs[one.id]
	if job == nil || job.state != Running || job.token != one.token {
		return one, nil
	}
	return one, job
}

func (m *model) renew(rt *rapid.T) {
	one, job := m.held(rt)
	lease, until := m.soon(rt)
	values := m.do(rt, "renew", one.id, one.token, lease)
	same(rt, values.number(0) == 1, job != nil)
	if job != nil {
		job.at = until
	}
}

func (m *model) decide(rt *rapid.T) {
	one, job := m.held(rt)
	result := rapid.SampledFrom([]string{" ", " x", " y"}).Draw(rt, "result")
	values := m.do(rt, "decide", one.id, one.token, result)
	same(rt, values.number(0) == 1, job != nil)
	if job == nil {
		return
	}
	if !job.decided {
		job.decided, job.result = true, result
	}
	same(rt, values.text(1), job.result)
}

func (m *model) finish(rt *rapid.T) {
	one, job := m.held(rt)
	outcome := rapid.SampledFrom([]string{done, retry, wait, bury, release}).Draw(rt, "outcome")
	after, at := m.soon(rt)
	values := m.do(rt, "finish", one.id, one.token, outcome, after, "problem", time.Hour.Milliseconds(), time.Hour.Milliseconds(), modelDead)
	if job == nil {
		// The one who had it last may have done this already.
		there := m.jobs[one.id]
		same(rt, values.number(0) == 1, there != nil && there.token == one.token)
		return
	}
	same(rt, values.number(0), 1)
	switch outcome {
	case done:
		job.state, job.problem = Finished, ""
	case retry:
		job.state, job.problem, job.at = Queued, "problem", at
	case wait:
		job.state, job.problem, job.at = Queued, "problem", at
		job.attempts, job.waits = job.attempts-1, job.waits+1
	case bury:
		m.bury(one.id, "problem")
	case release:
		job.state, job.at, job.attempts = Queued, m.now(), job.attempts-1
	}
}

func (m *model) revive(rt *rapid.T) {
	id := drawID(rt)
	anew := rapid.Bool().Draw(rt, "anew")
	err := m.queue.Revive(m.t.Context(), id, anew)
	switch job := m.jobs[id]; {
	case job == nil:
		same(rt, err, ErrNotFound)
	case job.state != Dead:
		same(rt, err, ErrNotDead)
	default:
		same(rt, err, nil)
		job.state, job.attempts, job.round, job.at, job.token = Queued, 0, job.round+1, m.now(), ""
		job.waits = 0
		if anew {
			job.decided, job.result = false, ""
		}
	}
}

func (m *model) compareJob(rt *rapid.T, id string, status Status) {
	job := m.jobs[id]
	same(rt, fmt.Sprint(status.ID, status.State, status.Attempts, status.Round, status.Problem),
		fmt.Sprint(id, job.state, job.attempts+job.waits, job.round, job.problem))
	waits := job.state == Queued || job.state == Running
	same(rt, status.DueAt.IsZero(), !waits)
	if waits {
		same(rt, time.Until(status.DueAt) > time.Minute, job.at >= modelHour)
	}
}

func (m *model) compare(rt *rapid.T) {
	id := drawID(rt) // The lists have the others, but for what is done.
	values := m.do(rt, "get", id)
	if job := m.jobs[id]; job == nil {
		same(rt, values.text(2), "")
	} else {
		same(rt, values.has(8), job.decided)
		same(rt, values.text(8), job.result)
		status, err := m.queue.status(values)
		same(rt, err, nil)
		m.compareJob(rt, id, status)
		payload, err := m.queue.Payload(m.t.Context(), id)
		if job.state == Finished {
			same(rt, err, ErrNotFound)
		} else {
			same(rt, string(payload), "payload of "+id)
		}
		// What no list has goes by itself.
		ttl := m.queue.cfg.Redis.PTTL(m.t.Context(), m.queue.keys[3]+id).Val()
		same(rt, ttl > 0, job.state == Finished || job.state == Dead)
	}
	waiting, dead := m.waiting(), m.in(Dead, Dead)
	slices.Reverse(dead)
	same(rt, m.pages(rt, m.queue.ListWaiting), strings.Join(waiting, ""))
	same(rt, m.pages(rt, m.queue.ListDead), strings.Join(dead, ""))
	w, d, oldest, err := m.queue.Depth(m.t.Context())
	same(rt, err, nil)
	same(rt, fmt.Sprint(w, d, oldest > 0), fmt.Sprint(len(waiting), len(dead), len(waiting) > 0))
}

func (m *model) pages(rt *rapid.T, list func(context.Context, string, int) (Page, error)) string {
	ids := ""
	for cursor := ""; ; {
		page, err := list(m.t.Context(), cursor, 2)
		if err != nil {
			rt.Fatal(err)
		}
		for _, status := range page.Jobs {
			ids += status.ID
			m.compareJob(rt, status.ID, status)
		}
		if cursor = page.Next; cursor == "" {
			return ids
		}
	}
}

func same[T comparable](rt *rapid.T, got, want T) {
	rt.Helper()
	if got != want {
		rt.Fatalf("got %v, want %v", got, want)
	}
}
