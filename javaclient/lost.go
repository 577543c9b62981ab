package javaclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

var (
	errConnectionEnd = errors.New("the connection ended too early")
	errCertificate   = errors.New("its certificate is not to be trusted")
	errNoSuchHost    = errors.New("lookup: no such host")
	errLookup        = errors.New("lookup: it failed")
)

// lost says what became of a connection. What package net says has addresses in it.
func lost(err error) error {
	var network *net.OpError
	var lookup *net.DNSError
	var certificate *tls.CertificateVerificationError
	var number syscall.Errno
	switch {
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return errNoSuchHost
	case lookup != nil:
		return errLookup
	case errors.As(err, &certificate):
		return errCertificate
	case !errors.As(err, &network):
		return errConnectionEnd
	case errors.As(network, &number):
		return fmt.Errorf("%s: %w", network.Op, number)
	case network.Op == "remote error": // A TLS alert, which is one of RFC 8446, 6.
		return fmt.Errorf("%s: %w", network.Op, network.Err)
	}
	return fmt.Errorf("%s: %w", network.Op, errConnectionEnd)
}

// isLost says whether an error is of the connection and not of what came by it. net/http has an error of its own, without a
// name, for a connection that ended at the very moment when it was taken out of the pool.
func isLost(err error) bool {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &network) || errors.As(err, &certificate) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "server closed idle connection")
}
