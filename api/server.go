package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/ratelimit"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
	"github.com/connectbot-hub/connecthub/menucache"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// Publisher publishes one event; events.Publisher does.
type publisher interface {
	Publish(ctx context.Context, m events.Message) (events.Receipt, error)
}

// logReader reads pages of a channel's log; events.Log does.
type logReader interface {
	Read(ctx context.Context, q events.Query) (events.Page, error)
}

// follower opens streams; events.Fanout does.
type follower interface {
	Follow(ctx context.Context, from events.Cursor, types events.Pattern, channels ...events.Channel) (*events.Stream, error)
}

// reporter tells how the hub is doing; health.Checker does.
type reporter interface {
	Report(ctx context.Context) health.Report
}

// menus keeps menus; menucache.Menus does. What a call cannot take it tells in a menucache.InvalidError, whose fields are
// named as the parameters and members of requests are.
type menus interface {
	Get(ctx context.Context, r menucache.Request) (menucache.Answer, error)
	Set(ctx context.Context, w menucache.Write) (menucache.Written, error)
	Renew(ctx context.Context, key menucache.Key, ttl time.Duration) (menucache.Written, error)
	Clear(ctx context.Context, key menucache.Key) (int, error)
	ClearUser(ctx context.Context, userID int64) (int, error)
	DropUser(ctx context.Context, userID int64) (int, error)
	DropAll(ctx context.Context) error
	Invalidate(ctx context.Context, s menucache.Selection) error
	Users(ctx context.Context, cursor string, limit int) (menucache.UserPage, error)
	Warm(ctx context.Context, w menucache.Warming) (menucache.Warmed, error)
	Definitions() *menucache.Definitions
	Callback(ctx context.Context, id string) (string, error)
	DeadWrites(ctx context.Context, cursor string, limit int) (menucache.DeadWritePage, error)
	RetryWrite(ctx context.Context, id string) error
}

// temporary keeps temporary data; tempdata.Store does. What a call cannot take it tells in a tempdata.InvalidError, whose
// fields are named as the parameters and members of requests are.
type temporary interface {
	Put(ctx context.Context, put tempdata.Put) (tempdata.Written, error)
	Get(ctx context.Context, key tempdata.Key) (tempdata.Value, error)
	Delete(ctx context.Context, key tempdata.Key, condition tempdata.Condition) (tempdata.Written, error)
	Touch(ctx context.Context, key tempdata.Key, ttl time.Duration, condition tempdata.Condition) (tempdata.Written, error)
	List(ctx context.Context, namespace, cursor string, limit int) (tempdata.Page, error)
	Clear(ctx context.Context, namespace string) (int, error)
	GetMany(ctx context.Context, namespace string, names []string) ([]tempdata.Value, error)
	PutMany(ctx context.Context, namespace string, items []tempdata.Item) ([]tempdata.Written, error)

	Form(ctx context.Context, key tempdata.FormKey) (tempdata.Form, error)
	Step(ctx context.Context, key tempdata.FormKey, step string) (tempdata.StepValue, error)
	PutStep(ctx context.Context, put tempdata.PutStep) (tempdata.Written, error)
	DeleteStep(ctx context.Context, key tempdata.FormKey, step string, condition tempdata.Condition) (tempdata.Written, error)
	PatchForm(ctx context.Context, patch tempdata.PatchForm) (tempdata.Form, error)
	Back(ctx context.Context, key tempdata.FormKey, condition tempdata.Condition) (removed string, form tempdata.Form, err error)
	DeleteForm(ctx context.Context, key tempdata.FormKey, condition tempdata.Condition) (tempdata.Written, error)
	Forms(ctx context.Context, userID int64, cursor string, limit int) (tempdata.Page, error)
	ClearForms(ctx context.Context, userID int64) (int, error)
	Submit(ctx context.Context, submit tempdata.Submit) (tempdata.Submission, error)

	Append(ctx context.Context, messages tempdata.Append) (tempdata.Appended, error)
	Messages(ctx context.Context, history tempdata.History) (tempdata.Messages, error)
	DeleteHistory(ctx context.Context, conversation string) (tempdata.Written, error)

	Lease(ctx context.Context, userID int64, ttl, wait time.Duration) (tempdata.Lease, error)
	RenewLease(ctx context.Context, userID int64, token string, ttl time.Duration) (tempdata.Lease, error)
	ReleaseLease(ctx context.Context, userID int64, token string) error

	ClearUser(ctx context.Context, userID int64) (int, error)
	ClearAll(ctx context.Context) (int, error)
}

// matcher finds partners; matching.Matcher does. What a call cannot take it tells in a matching.InvalidError, and without a
// fallback it returns what javaclient.Client does.
type matcher interface {
	SecretCoffee(ctx context.Context, terms matching.Terms, body []byte) (matching.Pairs, error)
	FromAPI(ctx context.Context, terms matching.Terms, body []byte) (matching.Pairs, error)
	Simple(ctx context.Context, terms matching.Terms, body []byte) (matching.Pairs, error)
	Interest(ctx context.Context, terms matching.Terms, interest string, body []byte) (matching.Pairs, error)
	Tournament(ctx context.Context, terms matching.Terms, body []byte) (matching.Bracket, error)
	Teams(ctx context.Context, terms matching.Terms, body []byte) (matching.Teams, error)
	Algorithms(ctx context.Context, call javaclient.Call) (matching.Algorithms, error)
}

// matchingJobs take requests for matching that may wait; matching.Jobs do.
type matchingJobs interface {
	Request(ctx context.Context, terms matching.Terms, body []byte) (matching.Status, error)
	Get(ctx context.Context, id string) (matching.Status, error)
	List(ctx context.Context, state matching.State, cursor string, limit int) (matching.StatusPage, error)
	Retry(ctx context.Context, id string) (matching.Status, error)
}

// Deps are what the handlers call. All are required.
type Deps struct {
	// Publisher publishes events.
	Publisher publisher
	// Log reads history.
	Log logReader
	// Fanout opens streams.
	Fanout follower
	// Menus keeps menus.
	Menus menus
	// Temp keeps temporary data.
	Temp temporary
	// Matching finds partners at once, MatchingJobs for requests that may wait.
	Matching     matcher
	MatchingJobs matchingJobs
	// Health answers /health.
	Health reporter
	// Ready answers /health/ready: only what accepting events needs.
	Ready reporter
	// Started reports whether the hub has started: it answers /health/startup. Default: from the beginning.
	Started func() bool
	// Stats returns the counters of /stats, and ResetStats makes them start at 0 and returns what they were.
	Stats, ResetStats func() Stats
}

// Config says how the server behaves. The zero Config is ready to use on a loopback address.
type Config struct {
	// Keys let callers in. Default: none, and everybody who reaches a loopback address is let in.
	Keys *Keys
	// MaxStreams is the most streams open at a time, MaxStreamsPerKey the most of one service, which is the keys of one name,
	// unless the key that opens a stream says otherwise; more get 429. Default 20000 and 10000.
	MaxStreams, MaxStreamsPerKey int
	// MaxConnections is the most connections open at a time, streams included. For more, those are closed that have been
	// idle the longest; idle are all without a request that was let in. Default 30000.
	MaxConnections int
	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Default: none.
	TrustedProxies []netip.Prefix
	// Limits bound the requests of each key and address. Default: no bounds.
	Limits Limits
	// TLS makes Serve speak TLS. Default: it does not.
	TLS *tls.Config
	// Tracing makes a span of each request, but of streams and of those for health and metrics. Default: nil, which costs
	// nothing.
	Tracing trace.TracerProvider
	// OnRequest is told of each request when it was answered, a stream when it begins, over HTTP/2 when it ends. It must be
	// quick and safe for concurrent use. Default: nobody.
	OnRequest func(RequestInfo)
	// Audit gets a line for each administrative action. Default: Logger.
	Audit *zap.Logger
	// Heartbeat is how often a quiet stream says that it is alive. Default 15 s.
	Heartbeat time.Duration
	// StreamWriteTimeout is how long a stream's reader may take nothing before it is cut off. Default 10 s.
	StreamWriteTimeout time.Duration
	// Version is the version of the hub, as /health tells it.
	Version string
	// Logger gets the log. Default: nobody.
	Logger *zap.Logger
}

// Limits say how many requests are let through.
type Limits struct {
	// Limiter counts them. Default: nobody does, and all are let through.
	Limiter limiter
	// PerKey and PerAddress are requests a second of one service, which is the keys of one name, unless the key that comes says
	// otherwise, and of one address. 0: no bound.
	PerKey, PerAddress int
}

// limiter counts requests; ratelimit.Limiter does.
type limiter interface {
	// Take counts one request of somebody who may make so many.
	Take(who string, limit ratelimit.Limit) ratelimit.Decision
}

// RequestInfo is what is known of a request that was answered.
type RequestInfo struct {
	// Method and Route name the operation, such as GET and /v1/menus/:user_id/:menu_type. The route is "" when there is none.
	Method, Route string
	// Status is the answer's.
	Status int
	// Took is from the request's header to the end of its answer.
	Took time.Duration
}

func (c Config) withDefaults() Config {
	if c.Keys == nil {
		c.Keys = &Keys{}
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 20000
	}
	if c.MaxStreamsPerKey == 0 {
		c.MaxStreamsPerKey = 10000
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 30000
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.StreamWriteTimeout == 0 {
		c.StreamWriteTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Audit == nil {
		c.Audit = c.Logger
	}
	return c
}

// Server is the hub's HTTP server.
type Server struct {
	deps Deps
	cfg  Config
	log  *zap.Logger
	http *http.Server
	// rules say who may use which route.
	rules map[route]rule
	// live is the body of GET /health/live.
	live []byte

	// places counts the open streams, streaming the goroutines of those that have one of the connections to themselves.
	places      places
	streaming   sync.WaitGroup
	connections *connections
	// foreignPages finds the requests that web pages of other hosts make.
	foreignPages http.CrossOriginProtection
	// guesses counts the requests without a valid token, limited is what Limited returns.
	guesses *ratelimit.Limiter
	limited limitedRequests
	// answered and refused are what Requests and Refused return.
	answered answeredRequests
	refused  refusedEvents
	// refusals bound the lines of the audit log that somebody without rights can cause.
	refusals refusals
	// leaving is set when the server is about to shut down, and draining closed when it begins to.
	leaving   atomic.Bool
	draining  chan struct{}
	drainOnce sync.Once
	serveErr  chan error
}

// writeTimeout bounds a request and its answer, streams excepted.
const writeTimeout = 30 * time.Second

// New makes a server that does not listen yet.
func New(deps Deps, cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		deps: deps, cfg: cfg, log: cfg.Logger, rules: rules(), live: alive(cfg.Version),
		draining: make(chan struct{}), serveErr: make(chan error, 1),
		connections: newConnections(cfg.MaxConnections), guesses: ratelimit.New(ratelimit.Config{MaxCallers: mostGuessers}),
	}
	s.http = &http.Server{
		Handler: s.routes(),
		// A body has 4 MiB at most. Streams lift these bounds for themselves, and the longest call to the matching service ends
		// before them.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		TLSConfig:         cfg.TLS,
		ConnContext:       s.connections.named,
		ConnState:         s.connections.changed,
		ErrorLog:          log.New(reports{cfg.Logger}, "", 0),
	}
	return s
}

// Handler returns what answers requests, for tests and benchmarks.
func (s *Server) Handler() http.Handler { return s.http.Handler }

func (s *Server) routes() http.Handler {
	e := echo.New()
	e.HideBanner = true
	e.IPExtractor = clientAddress(s.cfg.TrustedProxies)
	e.HTTPErrorHandler = s.handleError
	if s.cfg.Tracing != nil {
		e.Use(traced(s.cfg.Tracing))
	}
	e.Use(s.observe, s.authenticate, s.limit, s.authorize, oneSegment, oneLine)
	RegisterHandlers(e, s)
	// These are not generated; see oapi-codegen.yaml.
	e.GET("/v1/menus/:user_id/:menu_type", s.GetMenu)
	e.GET("/v1/temp/:namespace/:key", s.GetTempValue)
	e.PUT("/v1/temp/:namespace/:key", s.PutTempValue)
	e.GET("/v1/users/:user_id/temp/:key", s.GetUserTempValue)
	e.PUT("/v1/users/:user_id/temp/:key", s.PutUserTempValue)
	e.GET("/v1/users/:user_id/forms/:form/steps/:step", s.GetFormStep)
	e.PUT("/v1/users/:user_id/forms/:form/steps/:step", s.PutFormStep)
	return e
}

// oneSegment answers 404 where Echo lets the parameter at the end of a path take further segments.
func oneSegment(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if route := c.Path(); route != "" && strings.Count(route, "/") != strings.Count(echo.GetPath(c.Request()), "/") {
			return echo.ErrNotFound
		}
		return next(c)
	}
}

// oneLine makes one line of each list of entity tags, as RFC 9110 has it (5.3): the generated code refuses two.
func oneLine(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Request().Header
		for _, name := range [...]string{"If-Match", "If-None-Match"} {
			if lines := header[name]; len(lines) > 1 {
				header[name] = []string{strings.Join(lines, ", ")}
			}
		}
		return next(c)
	}
}

// Serve answers requests on the listener, over TLS if Config says so, until Shutdown. It returns nil after Shutdown.
func (s *Server) Serve(listener net.Listener) error {
	serve := s.http.Serve
	if s.cfg.TLS != nil {
		serve = func(listener net.Listener) error { return s.http.ServeTLS(listener, "", "") }
	}
	if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// Leave makes readiness fail, so that nobody sends new requests here, and goes on answering those that come. It may be called
// twice.
func (s *Server) Leave() { s.leaving.Store(true) }

// Drain makes readiness fail and ends all open streams, each with a hint when to come back. It may be called twice.
func (s *Server) Drain() { s.drainOnce.Do(func() { close(s.draining) }) }

// Shutdown drains, stops listening and waits for the requests under way; when ctx ends first it cuts them off and
// returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	inTime := context.AfterFunc(ctx, s.connections.cutOff)
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.streaming.Wait()
	if !inTime() && err == nil {
		err = ctx.Err()
	}
	return err
}

func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

func requestID(c echo.Context) string { return c.Response().Header().Get(echo.HeaderXRequestID) }

// canonicalRequestID is how package http spells X-Request-ID.
const canonicalRequestID = "X-Request-Id"

// The headers of every answer. The slices are shared by all answers: whoever wants another value sets it anew.
//
//nolint:gochecknoglobals // Constants, but for the language.
var (
	headerNoSniff = []string{"nosniff"}
	headerPolicy  = []string{"default-src 'none'; frame-ancestors 'none'"}
	headerNoStore = []string{"no-store"}
)

// takeRequestID returns the caller's request id when it is fit for a header and a log line, and else a new one.
func takeRequestID(given string) string {
	const longest = 128
	if given == "" || len(given) > longest {
		return newRequestID()
	}
	for i := range len(given) {
		if given[i] <= ' ' || given[i] > '~' {
			return newRequestID()
		}
	}
	return given
}

func newRequestID() string {
	var digits [26]byte
	id := strconv.AppendUint(digits[:0], rand.Uint64()|1<<63, 36)  //nolint:gosec // G404: no secret.
	return string(strconv.AppendUint(id, rand.Uint64()|1<<63, 36)) //nolint:gosec // G404: no secret.
}

// observe gives every request its id and headers, survives a handler's panic, and logs what went wrong. What went well is
// logged at debug level.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		start := time.Now()
		id := takeRequestID(c.Request().Header.Get(echo.HeaderXRequestID))
		header := c.Response().Header()
		header[canonicalRequestID] = []string{id}
		header[echo.HeaderXContentTypeOptions] = headerNoSniff
		header[echo.HeaderContentSecurityPolicy] = headerPolicy
		header[echo.HeaderCacheControl] = headerNoStore
		defer func() {
			if r := recover(); r != nil {
				if r == http.ErrAbortHandler { //nolint:errorlint // The value itself is panicked with.
					panic(r)
				}
				s.log.Error("a handler panicked", zap.String("request_id", id), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
				err = errors.New("api: a handler panicked")
			}
			failure := err
			if err != nil {
				s.handleError(err, c)
				err = nil
			}
			s.logRequest(c, id, start, failure)
			s.answered.add(c.Response().Status)
			if s.cfg.OnRequest != nil {
				s.cfg.OnRequest(RequestInfo{c.Request().Method, c.Path(), c.Response().Status, time.Since(start)})
			}
		}()
		return next(c)
	}
}

// logRequest says what became of a request, and why, if that is not the caller's doing.
func (s *Server) logRequest(c echo.Context, id string, start time.Time, failure error) {
	status := c.Response().Status
	level := zapcore.DebugLevel
	switch {
	case status == http.StatusInternalServerError:
		level = zapcore.ErrorLevel
	case strings.HasPrefix(c.Path(), "/health"):
		// What a probe is told is in the log already, once.
	case status > http.StatusInternalServerError:
		level = zapcore.WarnLevel
	case status >= http.StatusBadRequest:
		level = zapcore.InfoLevel
	}
	entry := s.log.Check(level, "request")
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.String("request_id", id), zap.String("method", c.Request().Method), zap.String("route", c.Path()),
		zap.Int("status", status), zap.Duration("took", time.Since(start)),
	}
	if key := keyOf(c); key != nil {
		fields = append(fields, zap.String("key", key.ID))
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		fields = append(fields, zap.Stringer("remote", remoteAddr(c))) // So that they can be found.
	}
	fields = append(fields, traceFields(c)...)
	if level >= zapcore.WarnLevel {
		fields = append(fields, zap.Error(failure))
	}
	entry.Write(fields...)
}
