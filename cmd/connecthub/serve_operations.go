package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// operations serve what only those may see who run the hub, at an address of its own: /metrics and, when that is a loopback
// address, /debug/pprof. They ask for no key, and for no certificate, so that probes that have none may ask here for /health and
// what is below it.
type operations struct {
	server   *http.Server
	listener net.Listener
	local    bool
	log      *zap.Logger
	serving  sync.WaitGroup
}

// longestProfile is how long a profile or a trace may be taken for, in seconds.
const longestProfile = 60

// newOperations listens.
func newOperations(ctx context.Context, addr string, metrics, api http.Handler, log *zap.Logger) (*operations, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &settingError{"METRICS_ADDR", "cannot be listened on: " + err.Error()}
	}
	host, _, _ := net.SplitHostPort(listener.Addr().String())
	o := &operations{listener: listener, local: isLoopback(host), log: log}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /health", api)
	mux.Handle("GET /health/", api)
	var handler http.Handler = mux
	if o.local {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		handler = fromThisMachine(new(http.CrossOriginProtection).Handler(mux))
	}
	reports, err := zap.NewStdLogAt(log, zap.WarnLevel) // Without TLS they are hardly about clients.
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	o.server = &http.Server{
		Handler:           inTime(handler),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      (longestProfile + 15) * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          reports,
	}
	return o, nil
}

// start serves until close.
func (o *operations) start(context.Context) error {
	o.serving.Go(func() {
		if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
			o.log.Error("metrics are served no more", zap.Error(err))
		}
	})
	address := zap.String("address", o.listener.Addr().String())
	if o.local {
		o.log.Info("metrics and profiles are served to this machine", address)
	} else {
		o.log.Warn("metrics are served to all who can reach the address, profiles to nobody: METRICS_ADDR is no loopback address", address)
	}
	return nil
}

// close ends all requests at once. It may be called without start.
func (o *operations) close() {
	_ = o.server.Close()   // Who is cut off finds out.
	_ = o.listener.Close() // Mostly the server has closed it.
	o.serving.Wait()
}

// fromThisMachine refuses requests to another name: a page of a foreign site may make a browser call us under one that leads
// here.
func fromThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if !isLoopback(host) {
			http.Error(w, "Only localhost and loopback addresses are answered to.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// inTime refuses what would take too long, and lets browsers guess and keep nothing.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if text := r.URL.Query().Get("seconds"); text != "" {
			if seconds, err := strconv.ParseFloat(text, 64); err != nil || !(seconds > 0 && seconds <= longestProfile) {
				http.Error(w, "seconds must be above 0 and at most "+strconv.Itoa(longestProfile)+".", http.StatusBadRequest)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
