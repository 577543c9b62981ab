package javaclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/go-resty/resty/v2"
)

// Client calls the service. It is safe for concurrent use, and the caller closes it.
type Client struct {
	cfg       Config
	base      *url.URL
	resty     *resty.Client
	transport *http.Transport
	breaker   *breaker
	bulkhead  bulkhead.Bulkhead[any]
	counts    counts
}

// New makes a client. It does no I/O.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("javaclient: the URL is none") // It was checked.
	}
	c := &Client{
		cfg:       cfg,
		base:      base,
		transport: newTransport(cfg),
		breaker:   newBreaker(cfg.OpenFor, cfg.Logger),
		bulkhead:  bulkhead.New[any](uint(cfg.Concurrency)),
	}
	c.resty = resty.NewWithClient(&http.Client{
		Transport:     c.resilient(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	c.resty.SetLogger(silent{}).SetDisableWarn(true)
	c.resty.SetHeader("Accept", "application/json").SetHeader("User-Agent", "connecthub")
	if cfg.Token != "" {
		c.resty.SetHeader("Authorization", "Service "+cfg.Token)
	}
	return c, nil
}

// silent is resty's logger: what it would say is returned as an error, or is nobody's business.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// Close closes the connections that are idle. Calls under way end by themselves. It may be called twice.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Breaker returns the breaker's state.
func (c *Client) Breaker() State { return c.breaker.current() }

// Simple asks for pairs at random.
func (c *Client) Simple(ctx context.Context, call Call, employees []Employee) (Result, error) {
	return ask(ctx, c, post(CallSimple, call, "api/matching/coffee/simple", allActive(employees)), readResult)
}

// Interest asks for pairs of those who share an interest, of which the service wants the name.
func (c *Client) Interest(ctx context.Context, call Call, interest string, employees []Employee) (Result, error) {
	r := post(CallInterest, call, "api/matching/coffee/interest", allActive(employees))
	r.interest = interest
	return ask(ctx, c, r, readResult)
}

// SecretCoffee asks for pairs among the employees it names.
func (c *Client) SecretCoffee(ctx context.Context, call Call, coffee SecretCoffee) (Result, error) {
	coffee.Employees = allActive(coffee.Employees)
	r := post(CallSecretCoffee, call, "api/v1/matching/match/secret-coffee", coffee)
	r.explain = sourceFailure
	return ask(ctx, c, r, readResult)
}

// FromAPI asks for pairs among employees whom the service gets from its own data source.
func (c *Client) FromAPI(ctx context.Context, call Call, from FromAPI) (Result, error) {
	r := post(CallFromAPI, call, "api/v1/matching/match/secret-coffee/from-api", from)
	r.explain = sourceFailure
	return ask(ctx, c, r, readResult)
}

// Tournament asks for a bracket. Not every deployment has the call: without it, the code is CodeNotFound.
func (c *Client) Tournament(ctx context.Context, call Call, tournament Tournament) (Bracket, error) {
	return ask(ctx, c, post(CallTournament, call, "api/matching/tournament/bracket", tournament), readBracket)
}

// Teams asks for teams, in which nobody is twice. Not every deployment has the call: without it, the code is CodeNotFound.
func (c *Client) Teams(ctx context.Context, call Call, teams Teams) ([]Team, error) {
	return ask(ctx, c, post(CallTeams, call, "api/matching/teams/generate", teams), readTeams)
}

// Algorithms returns the names of the algorithms that FromAPI takes: at most 100 of at most 128 bytes.
func (c *Client) Algorithms(ctx context.Context, call Call) ([]string, error) {
	return ask(ctx, c, request{name: CallAlgorithms, call: call, method: http.MethodGet, path: "api/matching/algorithms"}, readAlgorithms)
}

// Health asks the service once, past the breaker, whether it is well. CodeDataSource says that it is, but its data source
// is not. What comes of it is not counted in Stats.
func (c *Client) Health(ctx context.Context) error {
	r := request{method: http.MethodGet, path: "api/v1/matching/health", health: true, explain: healthFailure}
	_, err := ask(ctx, c, r, healthy)
	return err
}

// Actuator asks once, past the breaker, whether the service's framework is up. What comes of it is not counted in Stats.
func (c *Client) Actuator(ctx context.Context) error {
	_, err := ask(ctx, c, request{method: http.MethodGet, path: "actuator/health", health: true}, healthy)
	return err
}
