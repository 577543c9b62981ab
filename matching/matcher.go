package matching

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// MatcherConfig says whom a Matcher asks. Client, Once, Cache and Prefix are required, and stay the caller's to close.
type MatcherConfig struct {
	// Client is the service.
	Client *javaclient.Client
	// Once remembers answers by idempotency key and by people.
	Once *once.Once
	// Cache keeps the list of algorithms. It is started after the Matcher is made.
	Cache *cache.Redis
	// Prefix begins the keys of that cache in Redis.
	Prefix string
	// Fallback says that the Matcher matches itself while the service is away.
	Fallback bool
	// CacheTTL is how long the same people, asked for in the same way, get the same pairs. 0: no such promise.
	CacheTTL time.Duration
	// WaitForOthers is how long a request waits for another one of the same people that is under way, with CacheTTL. Default
	// 10 s, which should be about as long as the service may take.
	WaitForOthers time.Duration
	// Logger is told when the Matcher begins to match itself, and ceases to. Default: nobody.
	Logger *zap.Logger
}

// Matcher answers requests at once. Make one with NewMatcher.
type Matcher struct {
	cfg        MatcherConfig
	algorithms *cache.Cache[string, []string]
	// local bounds how many requests are matched here at a time: each takes a core.
	local chan struct{}
	// reason is why the hub matched last, nil when the service did.
	reason atomic.Pointer[javaclient.Code]
	// failure is what the service did last, when the breaker is open.
	failure atomic.Pointer[javaclient.Code]
	// unlisted is set while the service does not tell its algorithms.
	unlisted atomic.Bool
	count    struct{ java, fallback, repeated, failed atomic.Int64 }
}

// NewMatcher makes a Matcher; it does no I/O. Close has to be called at the end.
func NewMatcher(cfg MatcherConfig) (*Matcher, error) {
	if cfg.Client == nil || cfg.Once == nil || cfg.Cache == nil || cfg.Prefix == "" {
		return nil, errors.New("matching: Client, Once, Cache and Prefix are required")
	}
	if cfg.CacheTTL < 0 || cfg.WaitForOthers < 0 {
		return nil, errors.New("matching: CacheTTL and WaitForOthers must not be below 0")
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.WaitForOthers == 0 {
		cfg.WaitForOthers = 10 * time.Second
	}
	m := &Matcher{cfg: cfg, local: make(chan struct{}, localSlots)}
	var err error
	m.algorithms, err = newAlgorithms(cfg)
	return m, err
}

// Close waits for what is under way in the background. It may be called twice.
func (m *Matcher) Close() { m.algorithms.Close() }

// Simple finds pairs at random. Body is an array of employees, or an object with the member employees.
func (m *Matcher) Simple(ctx context.Context, terms Terms, body []byte) (Pairs, error) {
	r, err := decodeEmployees(body)
	if err != nil {
		return Pairs{}, err
	}
	r.Method = Simple
	return m.pairs(ctx, terms, r)
}

// Interest finds pairs among people who share an interest. Body is as for Simple.
func (m *Matcher) Interest(ctx context.Context, terms Terms, interest string, body []byte) (Pairs, error) {
	r, err := decodeEmployees(body)
	if err != nil {
		return Pairs{}, err
	}
	r.Method, r.Interest = Interest, interest
	return m.pairs(ctx, terms, r)
}

// SecretCoffee finds pairs for a secret coffee. Body is an object with employees and perhaps algorithm, algorithm_params
// and request_id.
func (m *Matcher) SecretCoffee(ctx context.Context, terms Terms, body []byte) (Pairs, error) {
	r, err := decodeSecretCoffee(body)
	if err != nil {
		return Pairs{}, err
	}
	r.Method = SecretCoffee
	return m.pairs(ctx, terms, r)
}

// pairs answers a request that names its people.
func (m *Matcher) pairs(ctx context.Context, terms Terms, r PairRequest) (Pairs, error) {
	if err := m.check(ctx, &r); err != nil {
		return Pairs{}, err
	}
	named := r
	r.RequestID = terms.id(r.RequestID)
	q := question[Pairs]{named: named, people: r.people, call: string(r.Method), id: r.RequestID}
	q.java = func(ctx context.Context) (Pairs, error) { return m.ask(ctx, terms.Call, &r) }
	q.here = func(ctx context.Context, reason javaclient.Code) (Pairs, error) { return m.matchHere(ctx, &r, reason) }
	return answerTo(ctx, m, terms, &q)
}

// check checks a request, its algorithm too.
func (m *Matcher) check(ctx context.Context, r *PairRequest) error {
	if err := r.check(); err != nil {
		return err
	}
	return m.checkAlgorithm(ctx, "algorithm", r.Algorithm, true)
}

// FromAPI finds pairs among people whom the service finds. There is no fallback: the hub does not know them.
func (m *Matcher) FromAPI(ctx context.Context, terms Terms, body []byte) (Pairs, error) {
	id, request, err := decodeFromAPI(body)
	if err != nil {
		return Pairs{}, err
	}
	var wrong problems
	wrong.checkRequestID(id)
	wrong.checkText("algorithm_type", request.Algorithm)
	if err := wrong.err(); err != nil {
		return Pairs{}, err
	}
	if err := m.checkAlgorithm(ctx, "algorithm_type", request.Algorithm, true); err != nil {
		return Pairs{}, err
	}
	call := terms.Call
	call.RequestID = terms.id(id)
	named := struct {
		ID      string
		Request javaclient.FromAPI
	}{id, request}
	q := question[Pairs]{named: named, call: "from_api", id: call.RequestID}
	q.java = func(ctx context.Context) (Pairs, error) {
		result, err := m.cfg.Client.FromAPI(ctx, call, request)
		return Pairs{
			Origin: Origin{RequestID: call.RequestID, Source: Java, Algorithm: name(result.Algorithm)},
			Pairs:  notNil(result.Pairs), Unmatched: notNil(result.Unmatched), Meta: result.Meta,
		}, err
	}
	return answerTo(ctx, m, terms, &q)
}

// Tournament makes a bracket.
func (m *Matcher) Tournament(ctx context.Context, terms Terms, body []byte) (Bracket, error) {
	var r tournamentRequest
	if err := decode(body, &r, true); err != nil {
		return Bracket{}, err
	}
	if err := r.check(); err != nil {
		return Bracket{}, err
	}
	call := terms.Call
	call.RequestID = terms.id(r.RequestID)
	q := question[Bracket]{named: r, people: r.people, call: "tournament", id: call.RequestID}
	q.java = func(ctx context.Context) (Bracket, error) {
		bracket, err := m.cfg.Client.Tournament(ctx, call, javaclient.Tournament{
			Players: r.Players, GameType: r.GameType, Format: r.Format, Rounds: r.Rounds,
		})
		return Bracket{Origin{RequestID: call.RequestID, Source: Java}, notNil(bracket.Matches)}, err
	}
	q.here = func(_ context.Context, reason javaclient.Code) (Bracket, error) {
		return r.bracketHere(call.RequestID, reason)
	}
	return answerTo(ctx, m, terms, &q)
}

// Teams makes teams.
func (m *Matcher) Teams(ctx context.Context, terms Terms, body []byte) (Teams, error) {
	var r teamsRequest
	if err := decode(body, &r, true); err != nil {
		return Teams{}, err
	}
	if err := r.check(); err != nil {
		return Teams{}, err
	}
	call := terms.Call
	call.RequestID = terms.id(r.RequestID)
	q := question[Teams]{named: r, people: r.people, call: "teams", id: call.RequestID}
	q.java = func(ctx context.Context) (Teams, error) {
		teams, err := m.cfg.Client.Teams(ctx, call, javaclient.Teams{
			Members: r.Members, Size: r.Size, Max: r.Max, Balance: r.Balance,
		})
		if err != nil {
			return Teams{}, err
		}
		left, err := r.left(teams)
		return Teams{Origin{RequestID: call.RequestID, Source: Java}, notNil(teams), left}, err
	}
	q.here = func(_ context.Context, reason javaclient.Code) (Teams, error) {
		return r.teamsHere(call.RequestID, reason), nil
	}
	return answerTo(ctx, m, terms, &q)
}

// id returns the id of a request that may name one.
func (t *Terms) id(named string) string {
	if named != "" {
		return named
	}
	if t.Call.RequestID != "" {
		return t.Call.RequestID
	}
	return uuid.NewString()
}

// notNil makes an empty list of none, as answers have it.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Degraded reports whether the hub answered the last request itself, and why.
func (m *Matcher) Degraded() (reason javaclient.Code, degraded bool) {
	if code := m.reason.Load(); code != nil {
		return *code, true
	}
	return "", false
}

// MatcherStats counts what a Matcher did since it was made.
type MatcherStats struct {
	// Java answers of the service, Fallback answers of the hub, Repeated answers that were remembered, and requests that
	// Failed because of the service.
	Java, Fallback, Repeated, Failed int64
}

// Stats returns the counters.
func (m *Matcher) Stats() MatcherStats {
	return MatcherStats{m.count.java.Load(), m.count.fallback.Load(), m.count.repeated.Load(), m.count.failed.Load()}
}
