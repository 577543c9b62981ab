// Package tlsfiles serves TLS from files, which may be replaced while it does.
//
// Guarantee: a new connection gets what the files held at most about a second before, all of it or none. While they cannot be
// used, such as while they are being replaced, what was read before is used on, and the log says so once. Limit: whether
// files have changed is seen by their size and time, and connections that are open stay as they began.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// lookEvery is how often it is looked whether files have changed, at most.
const lookEvery = time.Second

// Files are what a server's TLS is made of, in PEM.
type Files struct {
	// Cert holds the certificate and those that lead to its authority, Key its private key.
	Cert, Key string
	// ClientCA holds the authorities that sign the certificates of clients, who then must have one. Default: they need none.
	ClientCA string
}

// FileError says which file cannot be used.
type FileError struct {
	Path string
	Err  error
}

// Error says why, and in most cases of which file.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *FileError) Unwrap() error { return e.Err }

// Config reads the files and returns a configuration of TLS 1.2 or later, for HTTP/2 and HTTP/1.1, that follows them as they
// change. Its errors are FileErrors, and hold nothing of a key. The log may be nil.
func (f Files) Config(log *zap.Logger) (*tls.Config, error) {
	if log == nil {
		log = zap.NewNop()
	}
	stamps := f.stamps()
	current, err := f.read()
	if err != nil {
		return nil, err
	}
	w := &watched{files: f, log: log, current: current, read: stamps, looked: time.Now()}
	outer := current.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.config(), nil }
	return outer, nil
}

// watched is what the files held, and when they were looked at.
type watched struct {
	files Files
	log   *zap.Logger

	mu      sync.Mutex
	current *tls.Config
	looked  time.Time
	// read are the files as they were when they were read last, failed is why they could not be used then, "" if they could.
	read   [3]stamp
	failed string
}

// stamp changes with a file.
type stamp struct {
	size int64
	at   time.Time
}

func (f Files) stamps() (stamps [3]stamp) {
	for i, path := range [...]string{f.Cert, f.Key, f.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return stamps
}

// config returns what to use for a new connection.
func (w *watched) config() *tls.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked) < lookEvery {
		return w.current
	}
	w.looked = time.Now()
	stamps := w.files.stamps() // Before they are read: what changes meanwhile is seen the next time.
	if stamps == w.read && w.failed == "" {
		return w.current
	}
	next, err := w.files.read()
	w.read = stamps
	switch {
	case err == nil:
		w.current, w.failed = next, ""
		w.log.Info("the TLS certificate was read again", zap.Time("expires", expiry(next)))
	case err.Error() != w.failed:
		w.failed = err.Error()
		w.log.Error("the files of TLS have changed and cannot be used: the certificate stays as it was", zap.Error(err))
	}
	return w.current
}

func expiry(c *tls.Config) time.Time { return c.Certificates[0].Leaf.NotAfter }

func (f Files) read() (*tls.Config, error) {
	cert, err := readFile(f.Cert)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(cert); block == nil {
		return nil, &FileError{f.Cert, fmt.Errorf("%s holds no certificate in PEM", f.Cert)}
	}
	key, err := readFile(f.Key)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(key); block == nil {
		return nil, &FileError{f.Key, fmt.Errorf("%s holds no key in PEM", f.Key)}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, &FileError{f.Cert, fmt.Errorf("%s cannot be used with %s: %w", f.Cert, f.Key, err)}
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if f.ClientCA == "" {
		return cfg, nil
	}
	ca, err := readFile(f.ClientCA)
	if err != nil {
		return nil, err
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(ca) {
		return nil, &FileError{f.ClientCA, fmt.Errorf("%s holds no certificate in PEM", f.ClientCA)}
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.SessionTicketsDisabled = true // A client that comes again is checked again: its authority may have been taken out.
	return cfg, nil
}

func readFile(path string) ([]byte, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the file.
	if err != nil {
		return nil, &FileError{path, err}
	}
	return raw, nil
}
