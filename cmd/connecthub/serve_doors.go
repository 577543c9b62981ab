package main

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/ratelimit"
	"github.com/connectbot-hub/connecthub/internal/tlsfiles"
)

// doorSettings say who comes in, how often, and how many at a time.
type doorSettings struct {
	TLSCertFile     string `name:"tls-cert-file" setting:"TLS_CERT_FILE" placeholder:"FILE" help:"The hub's certificate, and those that lead to its authority, in PEM. Unset: the hub speaks no TLS."`
	TLSKeyFile      string `name:"tls-key-file" setting:"TLS_KEY_FILE" placeholder:"FILE" help:"Its key, in PEM."`
	TLSClientCAFile string `name:"tls-client-ca-file" setting:"TLS_CLIENT_CA_FILE" placeholder:"FILE" help:"Who signs the certificates of clients, in PEM: clients without one are not let in."`
	TrustedProxies  string `setting:"TRUSTED_PROXIES" placeholder:"ADDRESSES" help:"Addresses and networks of proxies whose X-Forwarded-For is believed, with commas between them."`

	RateLimitPerKey     int `setting:"RATE_LIMIT_PER_KEY" default:"0" help:"Requests a second that a key may make, unless the keys file says otherwise; 0 for any number."`
	RateLimitPerAddress int `setting:"RATE_LIMIT_PER_ADDRESS" default:"0" help:"Requests a second that may come from an address; 0 for any number."`
	MaxStreamsPerKey    int `setting:"MAX_STREAMS_PER_KEY" default:"10000" help:"Streams that a key may have open at a time, unless the keys file says otherwise."`
	MaxConnections      int `setting:"MAX_CONNECTIONS" default:"30000" help:"Connections that may be open at a time, streams included. For more, idle ones are closed."`

	MetricsAddr string `setting:"METRICS_ADDR" default:"127.0.0.1:8091" help:"Where /metrics is, and on a loopback address /debug/pprof. off for nowhere."`
}

func (c *doorSettings) validate() error {
	for _, s := range []struct {
		name string
		ok   bool
		want string
	}{
		{"RATE_LIMIT_PER_KEY", inRange(c.RateLimitPerKey, 0), "must be from 0 to 1000000"},
		{"RATE_LIMIT_PER_ADDRESS", inRange(c.RateLimitPerAddress, 0), "must be from 0 to 1000000"},
		{"MAX_STREAMS_PER_KEY", inRange(c.MaxStreamsPerKey, 1), "must be from 1 to 1000000"},
		{"MAX_CONNECTIONS", inRange(c.MaxConnections, 1), "must be from 1 to 1000000"},
		{"TLS_KEY_FILE", c.TLSKeyFile != "" || c.TLSCertFile == "", "must be set together with TLS_CERT_FILE"},
		{"TLS_CERT_FILE", c.TLSCertFile != "" || c.TLSKeyFile == "", "must be set together with TLS_KEY_FILE"},
		{"TLS_CLIENT_CA_FILE", c.TLSCertFile != "" || c.TLSClientCAFile == "", "must be set together with TLS_CERT_FILE and TLS_KEY_FILE"},
	} {
		if !s.ok {
			return &settingError{s.name, s.want}
		}
	}
	if c.MetricsAddr != noAddr {
		if _, _, err := net.SplitHostPort(c.MetricsAddr); err != nil {
			return &settingError{"METRICS_ADDR", "must be host:port, such as 127.0.0.1:8091, or off"}
		}
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	_, err := c.tls(nil)
	return err
}

// noAddr stands for no address.
const noAddr = "off"

func inRange(n, least int) bool { return n >= least && n <= 1_000_000 }

// proxies returns the trusted ones.
func (c *doorSettings) proxies() (all []netip.Prefix, err error) {
	for text := range strings.SplitSeq(c.TrustedProxies, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			addr = addr.Unmap()
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || network.Addr().Is4In6() {
			return nil, &settingError{
				"TRUSTED_PROXIES", "must be addresses and networks, such as 10.0.0.7,192.168.0.0/16, which " + strconv.Quote(text) + " is not",
			}
		}
		all = append(all, network.Masked())
	}
	return all, nil
}

// tls returns what the hub serves TLS with, nil when it does not.
func (c *doorSettings) tls(log *zap.Logger) (*tlsfiles.Watched, error) {
	if c.TLSCertFile == "" {
		return nil, nil //nolint:nilnil // No TLS is a way to serve.
	}
	files, err := tlsfiles.Files{Cert: c.TLSCertFile, Key: c.TLSKeyFile, ClientCA: c.TLSClientCAFile}.Watch(log)
	if wrong := new(tlsfiles.FileError); errors.As(err, &wrong) {
		name := "TLS_CERT_FILE"
		switch wrong.Path {
		case c.TLSKeyFile:
			name = "TLS_KEY_FILE"
		case c.TLSClientCAFile:
			name = "TLS_CLIENT_CA_FILE"
		}
		return nil, &settingError{name, "cannot be used: " + err.Error()}
	}
	return files, err
}

// doors are what comes of the settings.
type doors struct {
	tls     *tlsfiles.Watched // nil without TLS
	proxies []netip.Prefix
	limiter *ratelimit.Limiter
	// connections is how many may be open at a time.
	connections int
}

func (c *serveCommand) newDoors(rdb *redis.Client, log *zap.Logger) (*doors, error) {
	proxies, err := c.proxies()
	if err != nil {
		return nil, err
	}
	files, err := c.tls(log)
	if err != nil {
		return nil, err
	}
	if host, _, _ := net.SplitHostPort(c.HTTPAddr); files == nil && len(proxies) == 0 && !isLoopback(host) {
		log.Warn("tokens can be read on their way: the hub listens beyond this machine without TLS, and TRUSTED_PROXIES names no proxy that has it")
	}
	limiter := ratelimit.New(ratelimit.Config{Redis: rdb, Prefix: c.ChannelPrefix, Logger: log})
	return &doors{files, proxies, limiter, c.mostConnections(openFiles(), log)}, nil
}

// otherFiles are kept for what is open besides callers' connections: those to Redis and Java, and files.
const otherFiles = 512

// mostConnections returns MAX_CONNECTIONS, or fewer if so many files cannot be open at a time: without one to spare nobody could
// be let in for whom an idle connection would be closed. 0 files stand for any number.
func (c *doorSettings) mostConnections(files int, log *zap.Logger) int {
	room := files - min(otherFiles, files/2)
	if files == 0 || room >= c.MaxConnections {
		return c.MaxConnections
	}
	log.Warn("fewer connections are let in than MAX_CONNECTIONS: the limit of open files leaves no room for more; raise it, or lower MAX_CONNECTIONS",
		zap.Int("max_connections", c.MaxConnections), zap.Int("open_files", files), zap.Int("connections", room))
	return room
}

// guarded returns the server's configuration with who comes in.
func (c *serveCommand) guarded(d *doors, cfg api.Config) api.Config {
	if d.tls != nil {
		cfg.TLS = d.tls.Config()
	}
	cfg.TrustedProxies = d.proxies
	cfg.MaxStreams, cfg.MaxStreamsPerKey, cfg.MaxConnections = c.MaxStreams, c.MaxStreamsPerKey, d.connections
	cfg.Limits = api.Limits{Limiter: d.limiter, PerKey: c.RateLimitPerKey, PerAddress: c.RateLimitPerAddress}
	return cfg
}
