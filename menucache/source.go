package menucache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-resty/resty/v2"
)

// SourceConfig says where the menu source is.
type SourceConfig struct {
	// URL is http:// or https:// with a host and, if need be, a path, below which the menus are. Required.
	URL string
	// Token is sent as "Authorization: Service <token>": visible ASCII characters. Default: none is sent.
	Token string
	// Timeout bounds each call, connecting and reading the answer included. Default 2 s; at least 1 ms.
	Timeout time.Duration
}

func (c SourceConfig) withDefaults() SourceConfig {
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	return c
}

// validate repeats nothing of the URL and the token, which may be secret.
func (c SourceConfig) validate() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("menucache: the menu source's URL must be http:// or https:// with a host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("menucache: the menu source's URL must have no query and no fragment")
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("menucache: the menu source's token must be visible ASCII characters")
	case c.Timeout < time.Millisecond:
		return errors.New("menucache: the menu source's timeout must be at least 1 ms")
	}
	return nil
}

// Source is the service that holds users' own menus, at {url}/menus/{user_id}/{type}. It is safe for concurrent use.
//
// Each method makes one call and never tries again, follows no redirect and uses no proxy. What the source answers is
// never repeated in an error.
type Source struct {
	cfg       SourceConfig
	base      *url.URL
	client    *resty.Client
	transport *http.Transport
}

// NewSource makes a source. It does no I/O. The caller closes it.
func NewSource(cfg SourceConfig) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("menucache: the menu source's URL is none") // It was checked.
	}
	const connections, idle = 64, 90 * time.Second
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSHandshakeTimeout:    cfg.Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           connections,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: 64 << 10,
	}
	client := resty.NewWithClient(&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	client.SetLogger(silent{}).SetDisableWarn(true).SetDoNotParseResponse(true)
	client.SetHeader("Accept", "application/json").SetHeader("User-Agent", "connecthub")
	if cfg.Token != "" {
		client.SetHeader("Authorization", "Service "+cfg.Token)
	}
	return &Source{cfg, base, client, transport}, nil
}

// silent is resty's logger: what it would say is returned as an error, or is nobody's business.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// Close closes the connections that are idle. Calls under way end by themselves.
func (s *Source) Close() { s.transport.CloseIdleConnections() }

// Get returns the user's own menu for a role and a language, a JSON object of at most MaxMenuSize bytes. Both may be
// empty and are then not sent. It returns ErrNotFound when the user has none, and else ErrSourceUnavailable with the
// cause, which is the context's error when the caller left.
func (s *Source) Get(ctx context.Context, key Key, role, language string) ([]byte, error) {
	req := s.client.R()
	for name, value := range map[string]string{"role": role, "lang": language} {
		if value != "" {
			req.SetQueryParam(name, value)
		}
	}
	var menu []byte
	status, err := s.call(ctx, req, http.MethodGet, key, func(status int, body io.Reader) (err error) {
		if status == http.StatusOK {
			menu, err = readMenu(body)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: reading a menu: %w", ErrSourceUnavailable, err)
	case status == http.StatusOK:
		return menu, nil
	case status == http.StatusNotFound:
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("%w: reading a menu: status %d", ErrSourceUnavailable, status)
}

var (
	errMenuTooLarge = fmt.Errorf("its menu is larger than %d bytes", MaxMenuSize)
	errNoMenu       = errors.New("what it sent is no JSON object")
)

func readMenu(body io.Reader) ([]byte, error) {
	menu, err := io.ReadAll(io.LimitReader(body, MaxMenuSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(menu) > MaxMenuSize:
		return nil, errMenuTooLarge
	}
	if value := jsontext.Value(menu); value.Kind() != '{' || !value.IsValid() {
		return nil, errNoMenu
	}
	return menu, nil
}

// Put stores the user's menu. A write that is not "" is sent as X-Write-ID and Idempotency-Key: a decimal number below
// 2^53 that grows with every write of a key, so that the source can refuse a write older than the one it has. The same
// write may come again, when the answer to the first was lost, and should then be answered as the first.
//
// It returns ErrSourceRefused when the same call would be refused again, and else ErrSourceUnavailable with the cause;
// the menu may have been stored all the same.
func (s *Source) Put(ctx context.Context, key Key, menu []byte, write string) error {
	req := s.client.R().SetHeader("Content-Type", "application/json").SetBody(bytes.NewReader(menu))
	if write != "" {
		req.SetHeader("X-Write-ID", write).SetHeader("Idempotency-Key", write)
	}
	status, err := s.call(ctx, req, http.MethodPut, key, func(int, io.Reader) error { return nil })
	switch {
	case err != nil:
		return fmt.Errorf("%w: storing a menu: %w", ErrSourceUnavailable, err)
	case status >= 200 && status < 300:
		return nil
	case status >= 400 && status < 500 &&
		status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d", ErrSourceRefused, status)
	}
	return fmt.Errorf("%w: storing a menu: status %d", ErrSourceUnavailable, status)
}

// call makes one call, lets read have the answer's body, and leaves the connection fit for the next one.
func (s *Source) call(
	ctx context.Context, req *resty.Request, method string, key Key, read func(status int, body io.Reader) error,
) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	address := s.base.JoinPath("menus", strconv.FormatInt(key.UserID, 10), url.PathEscape(key.Type))
	resp, err := req.SetContext(ctx).Execute(method, address.String())
	if err != nil {
		return 0, transportError(err)
	}
	body := resp.RawBody()
	defer func() {
		_, _ = io.CopyN(io.Discard, body, MaxMenuSize) // A longer rest is not worth the connection.
		_ = body.Close()
	}()
	err = read(resp.StatusCode(), body)
	if err != nil && !errors.Is(err, errMenuTooLarge) && !errors.Is(err, errNoMenu) {
		err = transportError(err)
	}
	return resp.StatusCode(), err
}

// transportError keeps of an error what tells nothing of the address's password and of the answer, both of which net/http quotes.
func transportError(err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.As(err, &network):
		return network
	case errors.As(err, &certificate):
		return errors.New("its certificate is not to be trusted")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection ended too early")
	}
	return errors.New("its answer is not understood")
}
