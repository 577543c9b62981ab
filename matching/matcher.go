package matching

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	count  struct{ java, fallback, repeated, failed atomic.Int64 }
}

// NewMatcher makes a Matcher; it does no I/O. Close has to be called at the end.
func NewMatcher(cfg MatcherConfig) (*Matcher, error) {
	if cfg.Client == nil || cfg.Once == nil || cfg.Cache == nil || cfg.Prefix == "" {
		return nil, errors.New("matching: Client, Once, Cache and Prefix are required")
	}
	if cfg.CacheTTL < 0 {
		return nil, errors.New("matching: CacheTTL must not be below 0")
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
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
	return remembered(ctx, m, terms, string(r.Method), r, r.people(), func(ctx context.Context) (Pairs, error) {
		r.RequestID = terms.id(r.RequestID)
		answer, err := m.ask(ctx, terms.Call, &r)
		if err != nil {
			return fallBack(ctx, m, err, func(reason javaclient.Code) (Pairs, error) { return m.matchHere(ctx, &r, reason) })
		}
		m.answered()
		return answer, nil
	})
}

// check checks a request, its algorithm too.
func (m *Matcher) check(ctx context.Context, r *PairRequest) error {
	if err := r.check(); err != nil {
		return err
	}
	return m.checkAlgorithm(ctx, "algorithm", r.Algorithm)
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
	if err := m.checkAlgorithm(ctx, "algorithm_type", request.Algorithm); err != nil {
		return Pairs{}, err
	}
	same := struct {
		ID      string
		Request javaclient.FromAPI
	}{id, request}
	return remembered(ctx, m, terms, "from_api", same, nil, func(ctx context.Context) (Pairs, error) {
		call := terms.Call
		call.RequestID = terms.id(id)
		result, err := m.cfg.Client.FromAPI(ctx, call, request)
		if err != nil {
			m.count.failed.Add(1)
			return Pairs{}, err
		}
		m.answered()
		answer := Pairs{
			Origin: Origin{RequestID: call.RequestID, Source: Java, Algorithm: result.Algorithm},
			Pairs:  notNil(result.Pairs), Unmatched: notNil(result.Unmatched), Meta: result.Meta,
		}
		return answer, nil
	})
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
	return remembered(ctx, m, terms, "tournament", r, r.people(), func(ctx context.Context) (Bracket, error) {
		call := terms.Call
		call.RequestID = terms.id(r.RequestID)
		bracket, err := m.cfg.Client.Tournament(ctx, call, javaclient.Tournament{
			Players: r.Players, GameType: r.GameType, Format: r.Format, Rounds: r.Rounds,
		})
		if err != nil {
			return fallBack(ctx, m, err, func(reason javaclient.Code) (Bracket, error) {
				return r.bracketHere(call.RequestID, reason)
			})
		}
		m.answered()
		return Bracket{Origin{RequestID: call.RequestID, Source: Java}, notNil(bracket.Matches)}, nil
	})
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
	return remembered(ctx, m, terms, "teams", r, r.people(), func(ctx context.Context) (Teams, error) {
		call := terms.Call
		call.RequestID = terms.id(r.RequestID)
		teams, err := m.cfg.Client.Teams(ctx, call, javaclient.Teams{
			Members: r.Members, Size: r.Size, Max: r.Max, Balance: r.Balance,
		})
		var left []int64
		if err == nil {
			left, err = r.left(teams)
		}
		if err != nil {
			return fallBack(ctx, m, err, func(reason javaclient.Code) (Teams, error) {
				return r.teamsHere(call.RequestID, reason), nil
			})
		}
		m.answered()
		return Teams{Origin{RequestID: call.RequestID, Source: Java}, notNil(teams), left}, nil
	})
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

// answered notes that the service answered.
func (m *Matcher) answered() {
	m.count.java.Add(1)
	if m.reason.Swap(nil) != nil {
		m.cfg.Logger.Info("the matching service is back")
	}
}

// fallBack answers in the service's place, if that may be and helps.
func fallBack[T any](ctx context.Context, m *Matcher, failure error, here func(javaclient.Code) (T, error)) (T, error) {
	code, away := m.away(failure)
	if !away || ctx.Err() != nil {
		m.count.failed.Add(1)
		var none T
		return none, failure
	}
	answer, err := here(code)
	if err != nil {
		m.count.failed.Add(1)
		return answer, fmt.Errorf("%w: matching without it: %w", failure, err)
	}
	m.noteFallback(code)
	return answer, nil
}

// away reports whether a failure is one of the service, which the fallback may answer in its place.
func (m *Matcher) away(failure error) (javaclient.Code, bool) {
	var problem *javaclient.Error
	if !m.cfg.Fallback || !errors.As(failure, &problem) || !ofService(problem.Code) {
		return "", false
	}
	return problem.Code, true
}

// ofService reports whether a failure is the service's, and not the request's or the caller's.
func ofService(code javaclient.Code) bool {
	return !slices.Contains([]javaclient.Code{
		javaclient.CodeRefused, javaclient.CodeNoEmployees, javaclient.CodeCanceled,
	}, code)
}

func (m *Matcher) noteFallback(code javaclient.Code) {
	m.count.fallback.Add(1)
	if m.reason.Swap(&code) == nil {
		m.cfg.Logger.Warn("the matching service is away, the hub matches by itself", zap.String("reason", string(code)))
	}
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
