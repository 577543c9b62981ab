package main

import (
	"path/filepath"
	"testing"
)

// TestABadClientSettingIsNamed tries what a command cannot call a hub with, and a hub that cannot be trusted.
func TestABadClientSettingIsNamed(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	broken := filepath.Join(t.TempDir(), "broken")
	write(t, broken, "nonsense")
	hub := serve(t, environment{"TLS_CERT_FILE": files.cert, "TLS_KEY_FILE": files.key})
	for _, test := range []struct {
		env    environment
		status int
		want   string
	}{
		{environment{"HUB_CA_FILE": broken + "-not"}, 2, "HUB_CA_FILE (or --hub-ca-file) cannot be read: "},
		{environment{"HUB_CA_FILE": broken}, 2, "HUB_CA_FILE (or --hub-ca-file) holds no certificate in PEM"},
		{environment{"HUB_CLIENT_CERT_FILE": files.cert, "HUB_CLIENT_KEY_FILE": broken}, 2, "cannot be used with HUB_CLIENT_KEY_FILE: "},
		{nil, 1, "cannot be trusted: "},
		{environment{"HUB_CA_FILE": newCertificates(t).ca}, 1, "(see HUB_CA_FILE)"},
	} {
		for _, command := range [][]string{{"publish", "--global", "test_event"}, {"cache", "status"}, {"check", "--component", "events"}} {
			call(t, hub.client().and(test.env), command...).want(t, test.status, test.want)
		}
	}
}
