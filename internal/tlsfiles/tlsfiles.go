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

	"github.com/connectbot-hub/connecthub/internal/regularfile"
)

const (
	// lookEvery is how often it is looked whether files have changed, at most.
	lookEvery = time.Second
	// longest is how long a file may be, in bytes.
	longest = 4 << 20
)

// Files are what a server's TLS is made of, in PEM. Each is a regular file of 4 MiB at most.
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

// Watch reads the files, and has what they hold from then on. Its errors are FileErrors, and hold nothing of a key. The log may
// be nil.
func (f Files) Watch(log *zap.Logger) (*Watched, error) {
	if log == nil {
		log = zap.NewNop()
	}
	stamps := f.stamps()
	current, err := f.read()
	if err != nil {
		return nil, err
	}
	return &Watched{files: f, log: log, current: current, read: stamps, looked: time.Now()}, nil
}

// Watched is what files of TLS hold as they change. It is safe for concurrent use, and needs no closing.
type Watched struct {
	files Files
	log   *zap.Logger

	mu      sync.Mutex
	current *tls.Config
	looked  time.Time
	// read are the files as they were when they were read last, failed is why they could not be used then, nil if they could.
	read   [3]stamp
	failed error
}

// Config returns a configuration of TLS 1.2 or later, for HTTP/2 and HTTP/1.1, of which each new connection has what the files
// hold.
func (w *Watched) Config() *tls.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	outer := w.current.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.look()
		return w.current, nil
	}
	return outer
}

// Err returns why the files cannot be used as they are now, nil if they can. It looks at them as a new connection does.
func (w *Watched) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return w.failed
}

// Expires returns until when the certificate that is served is valid; those that lead to its authority may not be so long. It
// looks at the files as a new connection does.
func (w *Watched) Expires() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return expiry(w.current)
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

// look reads the files if they have changed. It is called with the lock held.
func (w *Watched) look() {
	if time.Since(w.looked) < lookEvery {
		return
	}
	w.looked = time.Now()
	stamps := w.files.stamps() // Before they are read: what changes meanwhile is seen the next time.
	if stamps == w.read && w.failed == nil {
		return
	}
	next, err := w.files.read()
	w.read = stamps
	if err == nil {
		w.current, w.failed = next, nil
		w.log.Info("the TLS certificate was read again", zap.Time("expires", expiry(next)))
		return
	}
	if w.failed == nil || w.failed.Error() != err.Error() {
		w.log.Error("the files of TLS have changed and cannot be used: the certificate stays as it was", zap.Error(err))
	}
	w.failed = err
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
	raw, err := regularfile.Read(path, longest)
	if err != nil {
		return nil, &FileError{path, err}
	}
	return raw, nil
}
