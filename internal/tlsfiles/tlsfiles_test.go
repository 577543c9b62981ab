package tlsfiles_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/tlsfiles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{key: newKey(tb)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(100 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.pem = encode("CERTIFICATE", der)
	return a
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue returns a certificate for localhost with a serial number, and its key.
func (a *authority) issue(tb testing.TB, serial int64) (cert, key string) {
	tb.Helper()
	private := newKey(tb)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", raw)
}

// trusting returns a client's configuration that trusts the authority and has a certificate if cert is not "".
func (a *authority) trusting(tb testing.TB, cert, key string) *tls.Config {
	tb.Helper()
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", NextProtos: []string{"h2"}}
	cfg.RootCAs.AddCert(a.cert)
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			tb.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

// handshake connects a client to a server, and returns what each sees.
func handshake(tb testing.TB, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	tb.Helper()
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(here, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{1})
		}
		_ = here.Close()
		done <- err
	}()
	conn := tls.Client(there, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	_ = there.Close()
	return conn.ConnectionState(), <-done, clientErr
}

func write(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// newFiles writes a certificate, its key and an authority for clients.
func newFiles(tb testing.TB, a *authority, clients string) tlsfiles.Files {
	tb.Helper()
	dir := tb.TempDir()
	f := tlsfiles.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	cert, key := a.issue(tb, 1)
	write(tb, f.Cert, cert)
	write(tb, f.Key, key)
	if clients != "" {
		f.ClientCA = filepath.Join(dir, "ca.pem")
		write(tb, f.ClientCA, clients)
	}
	return f
}

// watch also returns the log.
func watch(tb testing.TB, f tlsfiles.Files) (*tlsfiles.Watched, *observer.ObservedLogs) {
	tb.Helper()
	core, logs := observer.New(zap.DebugLevel)
	files, err := f.Watch(zap.New(core))
	if err != nil {
		tb.Fatal(err)
	}
	return files, logs
}

// TestFilesAreFollowed replaces the files, one after the other as people do, with faults between.
func TestFilesAreFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		f := newFiles(t, ca, "")
		files, logs := watch(t, f)
		server := files.Config()
		client := ca.trusting(t, "", "")
		serial := func() int64 {
			t.Helper()
			state, _, err := handshake(t, server, client)
			if err != nil {
				t.Fatal(err)
			}
			if state.NegotiatedProtocol != "h2" || state.Version < tls.VersionTLS12 {
				t.Errorf("negotiated %q, version %x", state.NegotiatedProtocol, state.Version)
			}
			return state.PeerCertificates[0].SerialNumber.Int64()
		}
		expect := func(when string, want int64, entries int) {
			t.Helper()
			if got := serial(); got != want {
				t.Errorf("%s the certificate is %d, want %d", when, got, want)
			}
			if n := logs.Len(); n != entries {
				t.Errorf("%s the log has %d entries, want %d: %v", when, n, entries, logs.All())
			}
		}
		expect("at first", 1, 0)
		cert, key := ca.issue(t, 2)
		write(t, f.Cert, cert)
		expect("within a second", 1, 0)
		for range 3 { // The key is missing yet. It is said once.
			<-time.After(time.Second)
			expect("with another's key", 1, 1)
		}
		write(t, f.Key, key)
		<-time.After(time.Second)
		expect("with its key", 2, 2)
		write(t, f.Cert, "nonsense")
		<-time.After(time.Second)
		expect("with nonsense", 2, 3)
		if err := os.Remove(f.Cert); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		expect("without a file", 2, 4)
		cert, key = ca.issue(t, 3)
		write(t, f.Key, key)
		write(t, f.Cert, cert)
		<-time.After(time.Second)
		expect("in the end", 3, 5)
		<-time.After(time.Hour)
		expect("later", 3, 5)
		for _, entry := range logs.All() {
			for _, field := range entry.Context {
				if strings.Contains(field.String, "PRIVATE") {
					t.Errorf("the log holds a key: %v", entry)
				}
			}
		}
	})
}

func makePipe(tb testing.TB, path string) {
	tb.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// TestFaultsAreToldWithoutConnections asks what is the matter with files while nobody connects. One of them becomes a pipe.
func TestFaultsAreToldWithoutConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		f := newFiles(t, ca, "")
		files, logs := watch(t, f)
		end := ca.cert.NotAfter
		if err := files.Err(); err != nil || !files.Expires().Equal(end) {
			t.Errorf("at first: %v, until %v, want %v", err, files.Expires(), end)
		}
		whole, err := os.ReadFile(f.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(f.Key); err != nil {
			t.Fatal(err)
		}
		makePipe(t, f.Key)
		for range 3 {
			<-time.After(time.Second)
			var wrong *tlsfiles.FileError
			if err := files.Err(); !errors.As(err, &wrong) || wrong.Path != f.Key || !files.Expires().Equal(end) {
				t.Errorf("with a pipe: %v, until %v", err, files.Expires())
			}
		}
		if _, _, err := handshake(t, files.Config(), ca.trusting(t, "", "")); err != nil {
			t.Errorf("with a pipe a client gets %v", err)
		}
		if err := os.Remove(f.Key); err != nil {
			t.Fatal(err)
		}
		write(t, f.Key, string(whole))
		<-time.After(time.Second)
		if err := files.Err(); err != nil {
			t.Errorf("in the end: %v", err)
		}
		if n := logs.Len(); n != 2 {
			t.Errorf("the log has %d lines: %v", n, logs.All())
		}
	})
}

// TestClientsMustHaveACertificate also takes an authority away while a client knows its session.
func TestClientsMustHaveACertificate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, clients, foreign := newAuthority(t), newAuthority(t), newAuthority(t)
		f := newFiles(t, ca, clients.pem)
		files, _ := watch(t, f)
		server := files.Config()
		cert, key := clients.issue(t, 7)
		known := ca.trusting(t, cert, key)
		known.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		cert, key = foreign.issue(t, 8)
		if _, serverErr, err := handshake(t, server, known); err != nil || serverErr != nil {
			t.Errorf("a client with a certificate gets %v, the server %v", err, serverErr)
		}
		for name, client := range map[string]*tls.Config{"none": ca.trusting(t, "", ""), "a foreign one": ca.trusting(t, cert, key)} {
			if _, serverErr, err := handshake(t, server, client); err == nil || serverErr == nil {
				t.Errorf("a client with %s is let in", name)
			}
		}
		write(t, f.ClientCA, foreign.pem+"\n")
		<-time.After(time.Second)
		if _, _, err := handshake(t, server, known); err == nil {
			t.Error("a client is let in whose authority was taken out")
		}
		if _, _, err := handshake(t, server, ca.trusting(t, cert, key)); err != nil {
			t.Errorf("a client of the new authority gets %v", err)
		}
	})
}

func TestOldVersionsAreRefused(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	files, _ := watch(t, newFiles(t, ca, ""))
	server := files.Config()
	client := ca.trusting(t, "", "")
	client.MinVersion, client.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, serverErr, err := handshake(t, server, client); err == nil || serverErr == nil {
		t.Error("TLS 1.1 is spoken")
	}
	client.MaxVersion = tls.VersionTLS12
	if _, serverErr, err := handshake(t, server, client); err != nil || serverErr != nil {
		t.Errorf("TLS 1.2: %v, %v", err, serverErr)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	other, _ := ca.issue(t, 9)
	for name, test := range map[string]struct {
		spoil func(f *tlsfiles.Files)
		which func(f tlsfiles.Files) string
	}{
		"no certificate":    {func(f *tlsfiles.Files) { f.Cert += ".none" }, func(f tlsfiles.Files) string { return f.Cert }},
		"no key":            {func(f *tlsfiles.Files) { f.Key += ".none" }, func(f tlsfiles.Files) string { return f.Key }},
		"no authority":      {func(f *tlsfiles.Files) { f.ClientCA += ".none" }, func(f tlsfiles.Files) string { return f.ClientCA }},
		"empty certificate": {func(f *tlsfiles.Files) { write(t, f.Cert, "") }, func(f tlsfiles.Files) string { return f.Cert }},
		"empty key":         {func(f *tlsfiles.Files) { write(t, f.Key, "") }, func(f tlsfiles.Files) string { return f.Key }},
		"empty authority":   {func(f *tlsfiles.Files) { write(t, f.ClientCA, "") }, func(f tlsfiles.Files) string { return f.ClientCA }},
		"another's key":     {func(f *tlsfiles.Files) { write(t, f.Cert, other) }, func(f tlsfiles.Files) string { return f.Cert }},
		"a folder":          {func(f *tlsfiles.Files) { f.Key = filepath.Dir(f.Key) }, func(f tlsfiles.Files) string { return f.Key }},
		"a pipe":            {func(f *tlsfiles.Files) { f.Key += ".pipe"; makePipe(t, f.Key) }, func(f tlsfiles.Files) string { return f.Key }},
		"key as authority":  {func(f *tlsfiles.Files) { f.ClientCA = f.Key }, func(f tlsfiles.Files) string { return f.ClientCA }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t, ca, ca.pem)
			test.spoil(&f)
			_, err := f.Watch(nil)
			var wrong *tlsfiles.FileError
			if !errors.As(err, &wrong) || wrong.Path != test.which(f) || strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("%v", err)
			}
		})
	}
}
