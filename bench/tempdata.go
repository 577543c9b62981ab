package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// tempBody is a value of 300 bytes, as the bot keeps drafts.
const tempBody = `{"step":"interests","user_id":123456789,"name":"Анна Петренко","department":"Маркетинг","interests":["кофе","шахматы",` +
	`"прогулки","настольные игры"],"free":["среда 12:30","четверг 18:00"],"comment":"Лучше в четверг, у входа"}`

// serveBareTemp serves values as they are served with the least that it takes: PUT and GET of /bare/{user}/{key} with one
// command through go-redis, and GET of /left/{user}/{key}, which also tells how long the value is kept.
func serveBareTemp(e *echo.Echo, rdb *redis.Client) {
	key := func(c echo.Context) string { return bareKey(c.Param("user_id"), c.Param("key")) }
	e.PUT("/bare/:user_id/:key", func(c echo.Context) error {
		body := make([]byte, c.Request().ContentLength)
		if _, err := io.ReadFull(c.Request().Body, body); err != nil {
			return err
		}
		if err := rdb.Set(c.Request().Context(), key(c), body, tempTTL).Err(); err != nil {
			return err
		}
		return c.NoContent(http.StatusOK)
	})
	e.GET("/bare/:user_id/:key", func(c echo.Context) error {
		body, err := rdb.Get(c.Request().Context(), key(c)).Bytes()
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
	})
	e.GET("/left/:user_id/:key", func(c echo.Context) error {
		pipe := rdb.Pipeline()
		value, left := pipe.Get(c.Request().Context(), key(c)), pipe.PTTL(c.Request().Context(), key(c))
		if _, err := pipe.Exec(c.Request().Context()); err != nil {
			return err
		}
		body, err := value.Bytes()
		if err != nil {
			return err
		}
		c.Response().Header().Set("Expires-In", strconv.Itoa(int(left.Val().Seconds())))
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
	})
}

// tempTTL is how long the hub keeps a value when nobody says for how long.
const tempTTL = 30 * time.Minute

func bareKey(user, key string) string { return "bench:temp:user_" + user + "/" + key }

// place is servers whose Redis holds so many keys: a quarter each of values in one namespace, values of as many users,
// forms, formsPerUser to a user, and values of the bare handler.
type place struct {
	*site
	keys      int
	bare, hub *process
	// middle is the cursor of the page in the middle of the namespace.
	middle string
}

const (
	formsPerUser = 5
	tempSpace    = "drafts"
)

func (s *site) place(ctx context.Context, keys int) (*place, error) {
	p := &place{site: s, keys: keys}
	var err error
	if p.bare, err = s.role(ctx, "bare"); err != nil {
		return nil, err
	}
	if p.hub, err = s.hub(ctx); err != nil {
		return nil, err
	}
	if err := p.fill(ctx); err != nil {
		return nil, err
	}
	return p, p.findMiddle(ctx)
}

func (p *place) stop() {
	p.hub.stop()
	p.bare.stop()
}

// fill puts the keys into Redis.
func (p *place) fill(ctx context.Context) error {
	rdb, err := redisconn.Open(p.redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }() // It fails only when closed twice.
	store, err := tempdata.New(tempdata.Config{Redis: rdb, MemoryBytes: -1, Timeout: time.Minute})
	if err != nil {
		return err
	}
	if err := store.Start(ctx); err != nil {
		return err
	}
	defer store.Close()
	err = inParallel(p.keys/4, func(n int) error {
		key := tempdata.Key{Namespace: tempdata.UserNamespace(int64(1 + n)), Name: "draft"}
		_, err := store.Put(ctx, tempdata.Put{Key: key, Data: []byte(tempBody)})
		if err != nil {
			return err
		}
		_, err = store.PutStep(ctx, tempdata.PutStep{
			FormKey: tempdata.FormKey{UserID: int64(1 + n/formsPerUser), Form: "form" + strconv.Itoa(n%formsPerUser)},
			Step:    tempdata.Step{Name: "contact", Data: []byte(tempBody)},
		})
		return err
	})
	if err != nil {
		return err
	}
	const at = 250
	for from := 0; from < p.keys/4; from += at {
		items := make([]tempdata.Item, at)
		pipe := rdb.Pipeline()
		for i := range items {
			name := strconv.Itoa(1 + from + i)
			items[i] = tempdata.Item{Name: name, Data: []byte(tempBody)}
			pipe.Set(ctx, bareKey(name, "draft"), tempBody, tempTTL)
		}
		if _, err := store.PutMany(ctx, tempSpace, items); err != nil {
			return err
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// findMiddle pages to the middle of the namespace.
func (p *place) findMiddle(ctx context.Context) error {
	limit := min(p.keys/8, tempdata.MaxPage)
	for range p.keys / 8 / limit {
		var page api.TempKeyList
		url := "http://" + p.hub.addr + "/v1/temp/" + tempSpace + "?limit=" + strconv.Itoa(limit) + "&cursor=" + p.middle
		if err := getJSON(ctx, url, &page); err != nil {
			return err
		}
		if page.NextCursor == nil {
			return errors.New("the namespace has no middle")
		}
		p.middle = *page.NextCursor
	}
	return nil
}

// inParallel calls do for 0 to n-1, some at a time.
func inParallel(n int, do func(n int) error) error {
	const workers = 128
	failures := make([]error, workers)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < n && failures[worker] == nil; i += workers {
				failures[worker] = do(i)
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// one returns requests for one of so many things in turn, by the number between before and after.
func one(method, before, after string, of int, body string) request {
	tail := after + tail(method, body)
	return func(out []byte, n int) []byte {
		out = append(append(append(out, method...), ' '), before...)
		return append(strconv.AppendInt(out, int64(1+n*7919%of), 10), tail...)
	}
}

func tail(method, body string) string {
	if method == http.MethodGet {
		return " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	}
	return " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// steps returns requests that put a step of one of so many forms in turn.
func steps(forms int) request {
	tail := "/steps/profile" + tail(http.MethodPut, tempBody)
	return func(out []byte, n int) []byte {
		n = n * 7919 % forms
		out = append(strconv.AppendInt(append(out, "PUT /v1/users/"...), int64(1+n/formsPerUser), 10), "/forms/form"...)
		return append(strconv.AppendInt(out, int64(n%formsPerUser), 10), tail...)
	}
}

// task is what is asked of a server, and how it fares.
type task struct {
	name          string
	server, redis *process
	next          request
	// of is the task that it is compared with.
	of *task

	samples             []sample
	requests            int
	serverCPU, redisCPU time.Duration
}

// perform puts load on each server in turn, again and again.
func perform(ctx context.Context, o *options, tasks []*task) error {
	for round := range o.rounds + 1 {
		for _, t := range tasks {
			if err := t.perform(ctx, o, round > 0); err != nil { // The first warms up.
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

func (t *task) perform(ctx context.Context, o *options, counts bool) error {
	before, err := t.cpu()
	if err != nil {
		return err
	}
	got, err := load(ctx, t.server.addr, o.connections, o.length, t.next)
	if err != nil {
		return err
	}
	after, err := t.cpu()
	if err != nil || !counts {
		return err
	}
	t.samples = append(t.samples, got)
	t.requests += got.requests
	t.serverCPU += after[0] - before[0]
	t.redisCPU += after[1] - before[1]
	return nil
}

func (t *task) cpu() (used [2]time.Duration, err error) {
	if used[0], err = t.server.cpu(); err != nil {
		return used, err
	}
	used[1], err = t.redis.cpu()
	return used, err
}

// ratio returns how a task fares against the one it is compared with.
func (t *task) ratio() string {
	if t.of == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", median(t.samples).perSecond/median(t.of.samples).perSecond)
}

func (t *task) each(of time.Duration) string {
	return fmt.Sprintf("%.0f µs", float64(of.Microseconds())/float64(t.requests))
}

// tempTasks are what is done with values and forms. Of most kinds 5000 are in use, as most users are not there at a time.
func tempTasks(p *place) []*task {
	all, used := p.keys/4, min(p.keys/4, 5000)
	ask := func(name string, server *process, of *task, next request) *task {
		return &task{name: name, server: server, redis: p.redis, next: next, of: of}
	}
	put := ask("(a) an Echo handler with one SET through go-redis", p.bare, nil, one(http.MethodPut, "/bare/", "/draft", used, tempBody))
	get := ask("(g) an Echo handler with one GET through go-redis", p.bare, nil, one(http.MethodGet, "/bare/", "/draft", used, ""))
	const users, space = "/v1/users/", "/v1/temp/" + tempSpace + "/"
	return []*task{
		put,
		ask("(b) the hub, PUT of a user's value, of (a)", p.hub, put, one(http.MethodPut, users, "/temp/draft", used, tempBody)),
		ask("(c) the hub, PUT of a value in one namespace, of (a)", p.hub, put, one(http.MethodPut, space, "", used, tempBody)),
		ask("(d) the hub, PUT of a form's step, of (a)", p.hub, put, steps(used)),
		ask("(e) as (b), of all users", p.hub, put, one(http.MethodPut, users, "/temp/draft", all, tempBody)),
		ask("(f) as (d), of all forms, most of them new to this hub", p.hub, put, steps(all)),
		get,
		ask("(h) as (g), with GET and PTTL, of (g)", p.bare, get, one(http.MethodGet, "/left/", "/draft", used, "")),
		ask("(i) the hub, GET of a user's value, of (g)", p.hub, get, one(http.MethodGet, users, "/temp/draft", used, "")),
		ask("(j) the hub, GET of a value in one namespace, of (g)", p.hub, get, one(http.MethodGet, space, "", used, "")),
	}
}

// listTasks are what lists.
func listTasks(p *place) []*task {
	list := "/v1/temp/" + tempSpace + "?limit=50"
	return []*task{
		{name: "a user's " + strconv.Itoa(formsPerUser) + " forms", server: p.hub, redis: p.redis, next: one(http.MethodGet, "/v1/users/", "/forms", p.keys/4/formsPerUser, "")},
		{name: "the first 50 keys of a namespace", server: p.hub, redis: p.redis, next: one(http.MethodGet, list+"&n=", "", 1, "")},
		{name: "50 keys in its middle", server: p.hub, redis: p.redis, next: one(http.MethodGet, list+"&cursor="+p.middle+"&n=", "", 1, "")},
	}
}

// temporary compares temporary data of the hub with what a handler of one command does, with few and with many keys.
func temporary(ctx context.Context, s *site, o *options) error {
	brief := *o // There is much to compare.
	brief.length = o.length / 10
	many, err := s.another(ctx)
	if err != nil {
		return err
	}
	defer many.stop()
	a, err := s.place(ctx, 1000)
	if err != nil {
		return err
	}
	defer a.stop()
	b, err := many.place(ctx, 1_000_000)
	if err != nil {
		return err
	}
	defer b.stop()
	for _, part := range []struct {
		title string
		tasks func(*place) []*task
	}{{"Listing temporary data", listTasks}, {"Temporary data", tempTasks}} {
		few, lots := part.tasks(a), part.tasks(b)
		var all []*task
		for i := range few {
			all = append(all, few[i], lots[i])
		}
		if err := perform(ctx, &brief, all); err != nil {
			return err
		}
		fmt.Printf("## %s, %d connections, with 1000 and with 1,000,000 keys in Redis\n\n", part.title, o.connections)
		fmt.Print("| | requests/s | ratio | server | Redis | with 1,000,000 | ratio | server | Redis | p50 | p99 | of that with 1000 |\n" +
			"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
		for i, t := range few {
			one, m := median(t.samples).perSecond, median(lots[i].samples)
			fmt.Printf("| %s | %.0f | %s | %s | %s | %.0f | %s | %s | %s | %s | %s | %.2f |\n", t.name, one, t.ratio(), t.each(t.serverCPU), t.each(t.redisCPU),
				m.perSecond, lots[i].ratio(), lots[i].each(lots[i].serverCPU), lots[i].each(lots[i].redisCPU), short(m.p50), short(m.p99), m.perSecond/one)
		}
		fmt.Println()
	}
	return sizes(ctx, a, &brief)
}

// sizes shows what compression costs and saves.
func sizes(ctx context.Context, p *place, o *options) error {
	rdb, err := redisconn.Open(p.redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }() // It fails only when closed twice.
	lengths := []int{100, 900, 4 << 10, 64 << 10}
	var all []*task
	const keys = 100
	for _, length := range lengths {
		key := "size" + strconv.Itoa(length)
		body := tempValue(length)
		bare := func(method string) *task {
			return &task{name: "bare", server: p.bare, redis: p.redis, next: one(method, "/bare/", "/"+key, keys, body)}
		}
		hub := func(method string, of *task) *task {
			return &task{name: "hub", server: p.hub, redis: p.redis, next: one(method, "/v1/users/", "/temp/"+key, keys, body), of: of}
		}
		put, get := bare(http.MethodPut), bare(http.MethodGet)
		all = append(all, put, hub(http.MethodPut, put), get, hub(http.MethodGet, get))
	}
	if err := perform(ctx, o, all); err != nil {
		return err
	}
	fmt.Printf("## Values of several sizes, %d connections\n\nThe handlers of (a) and (g) keep them as they are.\n\n", o.connections)
	fmt.Print("| JSON | in Redis as it is | by the hub | PUT: of (a) | CPU of (a) | of the hub | Redis of (a) | of the hub " +
		"| GET: of (g) | CPU of (g) | of the hub | Redis of (g) | of the hub |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for i, length := range lengths {
		key := "size" + strconv.Itoa(length)
		asItIs, err := rdb.MemoryUsage(ctx, bareKey("1", key)).Result()
		if err != nil {
			return err
		}
		byHub, err := rdb.MemoryUsage(ctx, "hub:temp:user_1/"+key).Result()
		if err != nil {
			return err
		}
		row := []string{strconv.Itoa(len(tempValue(length))), strconv.FormatInt(asItIs, 10), strconv.FormatInt(byHub, 10)}
		for j := 4 * i; j < 4*i+4; j += 2 {
			bare, hub := all[j], all[j+1]
			row = append(row, hub.ratio(), bare.each(bare.serverCPU), hub.each(hub.serverCPU), bare.each(bare.redisCPU), hub.each(hub.redisCPU))
		}
		fmt.Println("| " + strings.Join(row, " | ") + " |")
	}
	fmt.Println()
	return nil
}

// tempValue returns JSON of about so many bytes, whose text does not repeat itself more than people do.
func tempValue(length int) string {
	const words = "встреча обед вслепую четверг шахматы теннис прогулка кофе люблю книги маркетинг отдел разработка привет коллеги " +
		"можно завтра вечером утром переговорная этаж познакомиться новый проект обсудить музыка концерт фотография велосипед горы"
	list := strings.Fields(words)
	pick := rand.New(rand.NewPCG(1, 2)).IntN //nolint:gosec // G404: the same in each run.
	var out strings.Builder
	out.WriteString(`{"items":[`)
	for i := 0; i == 0 || out.Len() < length-60; i++ {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"id":%d,"active":%t,"note":"`, pick(1e9), pick(2) == 0)
		for n := 1 + pick(8); n > 0 && out.Len() < length-30; n-- {
			out.WriteString(list[pick(len(list))] + " ")
		}
		out.WriteString(`"}`)
	}
	out.WriteString(`]}`)
	return out.String()
}
