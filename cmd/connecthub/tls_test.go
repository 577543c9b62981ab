package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// certificates are files with a private CA and what it issued for localhost.
type certificates struct{ ca, cert, key string }

func newCertificates(tb testing.TB) certificates {
	tb.Helper()
	dir := tb.TempDir()
	files := certificates{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caKey, leafKey := newPrivateKey(tb), newPrivateKey(tb)
	writePEM(tb, files.ca, "CERTIFICATE", sign(tb, ca, ca, caKey, caKey))
	writePEM(tb, files.cert, "CERTIFICATE", sign(tb, leaf, ca, leafKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, files.key, "PRIVATE KEY", der)
	return files
}

func newPrivateKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func writePEM(tb testing.TB, path, kind string, der []byte) {
	tb.Helper()
	write(tb, path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

// TestServeOverTLS runs the hub as a process of its own: which authorities Go trusts is settled once in a process.
func TestServeOverTLS(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", files.cert, "--tls-key-file", files.key,
		"--tls-ca-cert-file", files.ca, "--tls-auth-clients", "no")
	url := "rediss://localhost:" + port + "/0"

	for _, test := range []struct {
		name, wantLog string
		env           environment
		wantStatus    int
	}{
		{"unknown CA", "certificate signed by unknown authority", environment{"REDIS_URL": url}, http.StatusServiceUnavailable},
		{"SSL_CERT_FILE", "listening", environment{"REDIS_URL": url, "SSL_CERT_FILE": files.ca}, http.StatusOK},
		{
			"another name", "certificate",
			environment{"REDIS_URL": "rediss://127.0.0.1:" + port, "SSL_CERT_FILE": files.ca},
			http.StatusServiceUnavailable,
		},
		{"skip_verify", "listening", environment{"REDIS_URL": url + "?skip_verify=true"}, http.StatusOK},
		{"no TLS", "lost", environment{"REDIS_URL": "redis://localhost:" + port}, http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hub, _ := serveProgram(t, test.env)
			hub.stderr.has(t, test.wantLog)
			redistest.Eventually(t, soon, "the right status of /health", func() bool {
				status, _ := hub.get(t, "/health")
				return status == test.wantStatus
			})
			if test.wantStatus == http.StatusOK {
				call(t, hub.client(), "publish", "--global", "test_event").want(t, 0)
			}
		})
	}
}

// serveProgram starts a hub as serve does, but as a process of its own, which may be changed before.
func serveProgram(tb testing.TB, env environment, changes ...func(*exec.Cmd)) (*server, *os.Process) {
	tb.Helper()
	cmd := program(tb, environment{
		"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": "127.0.0.1:0", "JAVA_SERVICE_URL": noJava, "DISK_LOW_MIB": "0",
	}.and(env), "serve")
	s := &server{running: &running{stdout: &output{}, stderr: &output{}, ended: make(chan struct{})}}
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	for _, change := range changes {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	s.interrupt = func() { _ = cmd.Process.Signal(os.Interrupt) }
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
		s.status = cmd.ProcessState.ExitCode()
	}()
	s.stopWith(tb)
	s.awaitListening(tb)
	return s, cmd.Process
}
