package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/connectbot-hub/connecthub/api"
)

// hubClient is how the commands call a running hub.
type hubClient struct {
	HubURL            string `setting:"HUB_URL" default:"http://127.0.0.1:8090" help:"The hub to call."`
	HubCAFile         string `name:"hub-ca-file" setting:"HUB_CA_FILE" placeholder:"FILE" help:"Who may have signed the hub's certificate, in PEM. Unset: whom the system trusts."`
	HubClientCertFile string `setting:"HUB_CLIENT_CERT_FILE" placeholder:"FILE" help:"The certificate to show to a hub that wants one, in PEM."`
	HubClientKeyFile  string `setting:"HUB_CLIENT_KEY_FILE" placeholder:"FILE" help:"Its key, in PEM."`
	tokenSettings     `embed:""`

	idempotencyKey string
	// patience is how long a request may take; 0 is as long as usual.
	patience time.Duration
}

// base returns the hub's URL.
func (c *hubClient) base() (*url.URL, error) {
	base, err := url.Parse(c.HubURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, &settingError{"HUB_URL", "must be a URL such as http://127.0.0.1:8090"}
	}
	return base, nil
}

// request makes a request to the hub.
func (c *hubClient) request(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	target := base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", c.idempotencyKey)
	}
	token, _, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Service "+token)
	}
	return req, nil
}

// transport returns what carries requests to the hub. Whoever calls it closes the idle connections, but for those of the
// default transport, which are closed when the command ends.
func (c *hubClient) transport() (*http.Transport, error) {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok || c.HubCAFile == "" && c.HubClientCertFile == "" && c.HubClientKeyFile == "" {
		return standard, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.HubCAFile != "" {
		raw, err := os.ReadFile(c.HubCAFile)
		if err != nil {
			return nil, &settingError{"HUB_CA_FILE", "cannot be read: " + err.Error()}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(raw) {
			return nil, &settingError{"HUB_CA_FILE", "holds no certificate in PEM"}
		}
	}
	switch {
	case c.HubClientCertFile != "" && c.HubClientKeyFile == "":
		return nil, &settingError{"HUB_CLIENT_CERT_FILE", "must be set together with HUB_CLIENT_KEY_FILE"}
	case c.HubClientCertFile == "" && c.HubClientKeyFile != "":
		return nil, &settingError{"HUB_CLIENT_KEY_FILE", "must be set together with HUB_CLIENT_CERT_FILE"}
	case c.HubClientCertFile != "":
		pair, err := tls.LoadX509KeyPair(c.HubClientCertFile, c.HubClientKeyFile)
		if err != nil {
			return nil, &settingError{"HUB_CLIENT_CERT_FILE", "cannot be used with HUB_CLIENT_KEY_FILE: " + err.Error()}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	own := standard.Clone()
	own.TLSClientConfig = cfg
	own.DisableKeepAlives = true // So that none of its connections is left to be closed.
	return own, nil
}

// do sends a request, again and again while the hub says that there are too many, and returns the answer, whose body the caller
// closes.
func (c *hubClient) do(req *http.Request) (*http.Response, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: transport}
	for {
		res, err := client.Do(req) //nolint:gosec // G704: who calls the command says where the hub is.
		if err != nil || res.StatusCode != http.StatusTooManyRequests {
			return res, err
		}
		raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		_ = res.Body.Close() // What was read counts.
		if err != nil {
			return nil, err
		}
		res.Body = io.NopCloser(bytes.NewReader(raw))
		wait := turn(res.Header, raw)
		if wait == 0 {
			return res, nil
		}
		select {
		case <-req.Context().Done():
			return res, nil
		case <-time.After(wait):
		}
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
}

// turn returns how long to wait for one's turn, as a hub says that lets so many requests through; 0 if it says something else.
func turn(header http.Header, raw []byte) time.Duration {
	var p api.Problem
	if json.Unmarshal(raw, &p) != nil || p.Code != "rate_limited" {
		return 0
	}
	seconds, _ := strconv.Atoi(header.Get("Retry-After")) // A hub always says.
	return time.Duration(seconds) * time.Second
}

// answer is what a hub answered with.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request and decodes the answer into out. A problem the hub answers with becomes the error.
func (c *hubClient) call(ctx context.Context, method, path string, query url.Values, body []byte, out any) error {
	req, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	got, err := c.send(req)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(got.body, out); err != nil {
		return c.noHub(err)
	}
	return nil
}

// send sends a request. A problem the hub answers with becomes the error.
func (c *hubClient) send(req *http.Request) (*answer, error) {
	const usual = 10 * time.Second
	ctx, cancel := context.WithTimeout(req.Context(), cmp.Or(c.patience, usual))
	defer cancel()
	res, err := c.do(req.WithContext(ctx))
	if err != nil {
		return nil, c.unanswered(err)
	}
	defer func() { _ = res.Body.Close() }() // What was read counts.
	const largest = 80 << 20
	raw, err := io.ReadAll(io.LimitReader(res.Body, largest))
	if err != nil {
		return nil, c.unanswered(err)
	}
	health := strings.HasPrefix(res.Header.Get("Content-Type"), "application/health+json")
	if res.StatusCode >= 300 && res.StatusCode != http.StatusNotModified && !health {
		return nil, problemError(res, raw)
	}
	return &answer{res.StatusCode, res.Header, raw}, nil
}

// noHub says that an answer is none of a hub.
func (c *hubClient) noHub(err error) error {
	return fmt.Errorf("what answers at %s is no hub: %w", c.shownURL(), err)
}

// unanswered says that the hub did not answer, and what to try.
func (c *hubClient) unanswered(err error) error {
	if errors.As(err, new(*settingError)) {
		return err
	}
	if urlErr := new(url.Error); errors.As(err, &urlErr) {
		err = urlErr.Err // Without the address, which is said once.
	}
	if errors.Is(err, context.Canceled) { // By who ran the command, which says nothing of the hub.
		return fmt.Errorf("the hub at %s had not answered yet: %w", c.shownURL(), err)
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return fmt.Errorf("the hub at %s cannot be trusted: %w (see HUB_CA_FILE)", c.shownURL(), err)
	}
	hint := ""
	if strings.HasPrefix(c.HubURL, "https:") && c.HubClientCertFile == "" {
		hint = "; if it wants a certificate, see HUB_CLIENT_CERT_FILE" // Its alert may be lost with the connection.
	}
	return fmt.Errorf("the hub at %s does not answer: %w (start one with connecthub serve, or set HUB_URL%s)", c.shownURL(), err, hint)
}

// shownURL is the hub's URL as messages show it.
func (c *hubClient) shownURL() string {
	base, err := c.base()
	if err != nil {
		return "HUB_URL"
	}
	return base.Redacted()
}

// problemError turns an answer that is not a success into an error for people.
func problemError(res *http.Response, raw []byte) error {
	var p api.Problem
	if bytes.Contains(raw, []byte("HTTP request to an HTTPS server")) {
		return errors.New("the hub speaks TLS: set HUB_URL to https://…")
	}
	if json.Unmarshal(raw, &p) != nil || p.Title == "" {
		return fmt.Errorf("what answers is no hub, or something stands before it: %s", res.Status)
	}
	hint := ""
	if p.Status == http.StatusUnauthorized {
		hint = "; set SERVICE_AUTH_TOKEN or SERVICE_AUTH_TOKEN_FILE"
	}
	return fmt.Errorf("%s: %s (%d %s, request %s%s)", p.Title, p.Detail, p.Status, p.Code, p.RequestID, hint)
}
