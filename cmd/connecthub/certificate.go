package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/connectbot-hub/connecthub/health"
)

// certificate is what is known of a certificate and its files.
type certificate interface {
	// Expires returns until when it is valid, Err why its files cannot be used as they are now.
	Expires() time.Time
	Err() error
}

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 14 * 24 * time.Hour

// checkCertificate is what /health tells of the certificate that is served.
func checkCertificate(c certificate, now time.Time) error {
	expires := c.Expires()
	end := expires.UTC().Format(time.RFC3339)
	switch {
	case !now.Before(expires):
		return errors.New("The certificate expired at " + end + ": clients refuse it.")
	case c.Err() != nil:
		return health.Warning(fmt.Sprintf("The files of TLS cannot be used, what was read before is served, until %s: see the log.", end))
	case expires.Sub(now) < expiresSoon:
		return health.Warning("The certificate expires at " + end + ".")
	}
	return nil
}
