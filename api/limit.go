package api

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/internal/ratelimit"
)

const codeRateLimited = "rate_limited"

const (
	// burstSeconds is how many seconds' worth of requests may come at once after a pause.
	burstSeconds = 2
	// guessesPerSecond and guessesBurst are how often an address may come without a valid token.
	guessesPerSecond, guessesBurst = 10, 50
	// mostGuessers is how many such addresses are remembered.
	mostGuessers = 20_000
)

// limitedRequests counts the requests that were refused because there were too many.
type limitedRequests struct{ key, address, unauthorized atomic.Int64 }

// LimitedRequests are how many requests were refused since the server was made because there were too many: of a Key, of an
// Address, and from an address that came with wrong tokens again and again.
type LimitedRequests struct{ Key, Address, Unauthorized int64 }

// Limited returns how many requests were refused because there were too many. It is safe for concurrent use.
func (s *Server) Limited() LimitedRequests {
	return LimitedRequests{s.limited.key.Load(), s.limited.address.Load(), s.limited.unauthorized.Load()}
}

// limit refuses the requests that are too many for their address or their key, and tells the others how many are left.
// Whether the hub is alive may always be asked.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.Limits.Limiter == nil {
		return next
	}
	return func(c echo.Context) error {
		if c.Path() == "/health/live" {
			return next(c)
		}
		fields := newLimitFields()
		err := s.withinLimits(c, &fields)
		fields.send(c.Response().Header())
		if err != nil {
			return err
		}
		return next(c)
	}
}

// withinLimits counts a request for its address, and for its key if there is one, and returns the problem if it is too many.
// The keys of one name are one service's and count together, so that rotation gives it no more.
func (s *Server) withinLimits(c echo.Context, fields *limitFields) error {
	limits := s.cfg.Limits
	if n := limits.PerAddress; n > 0 {
		if d := fields.take(limits.Limiter, "address", addressOf(c), n); !d.Allowed {
			s.limited.address.Add(1)
			return tooManyRequests("The address may make "+strconv.Itoa(n)+" requests a second. Try again later.", d)
		}
	}
	if key := keyOf(c); key != nil {
		if n := cmp.Or(key.RateLimit, limits.PerKey); n > 0 {
			if d := fields.take(limits.Limiter, "key", key.Name, n); !d.Allowed {
				s.limited.key.Add(1)
				return tooManyRequests("The key may make "+strconv.Itoa(n)+" requests a second. Try again later.", d)
			}
		}
	}
	return nil
}

// refuseGuessers counts a request without a valid token, and returns the problem with which it is refused when there were too
// many from its address, else nil.
func (s *Server) refuseGuessers(c echo.Context) error {
	d := s.guesses.Take(addressOf(c), ratelimit.Limit{PerSecond: guessesPerSecond, Burst: guessesBurst})
	if d.Allowed {
		return nil
	}
	s.limited.unauthorized.Add(1)
	return tooManyRequests("Too many requests without a valid token came from this address. Try again later, with a valid one at once.", d)
}

func tooManyRequests(detail string, d ratelimit.Decision) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: codeRateLimited, title: "Too many requests", detail: detail,
		retryAfter: max(1, wholeSeconds(d.RetryAfter)),
	}
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// limitFields are the values of RateLimit-Policy and RateLimit: draft-ietf-httpapi-ratelimit-headers. Each is a list with an
// item for each limit.
type limitFields struct{ policy, state []byte }

// newLimitFields has room for two limits.
func newLimitFields() limitFields { return limitFields{make([]byte, 0, 64), make([]byte, 0, 64)} }

// take counts a request of one of a kind, such as a key, who may make n a second.
func (f *limitFields) take(l limiter, kind, name string, n int) ratelimit.Decision {
	d := l.Take(kind+" "+name, ratelimit.Limit{PerSecond: n, Burst: n * burstSeconds})
	f.policy = appendItem(f.policy, kind, ";q=", n*burstSeconds, ";w=", burstSeconds)
	f.state = appendItem(f.state, kind, ";r=", d.Remaining, ";t=", wholeSeconds(d.Reset))
	return d
}

func appendItem(list []byte, kind, first string, a int, second string, b int) []byte {
	if len(list) > 0 {
		list = append(list, ", "...)
	}
	list = append(append(append(list, '"'), kind...), '"')
	list = strconv.AppendInt(append(list, first...), int64(a), 10)
	return strconv.AppendInt(append(list, second...), int64(b), 10)
}

// send puts the fields into a header, under the names as package http spells them.
func (f *limitFields) send(header http.Header) {
	if len(f.policy) > 0 {
		values := []string{string(f.policy), string(f.state)}
		header["Ratelimit-Policy"], header["Ratelimit"] = values[:1:1], values[1:]
	}
}

// remoteAddr returns the address that a request comes from, the zero one if there is none.
func remoteAddr(c echo.Context) netip.Addr {
	addr, _ := netip.ParseAddr(c.RealIP())
	return addr.Unmap().WithZone("")
}

// addressOf returns the address that a request counts for: of IPv6 the network, as a client has all of it.
func addressOf(c echo.Context) string {
	switch addr := remoteAddr(c); {
	case !addr.IsValid():
		return "" // All of these count together.
	case addr.Is4():
		return addr.String()
	default:
		network, _ := addr.Prefix(64) // It has that many bits.
		return network.String()
	}
}

// clientAddress finds out where a request comes from: X-Forwarded-For is believed from these proxies, and from nobody else.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		network := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		options = append(options, echo.TrustIPRange(network))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
