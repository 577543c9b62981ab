// Package redistest gives tests a real redis-server on a loopback port of its own, and lets them stop,
// kill, pause and restart it.
//
// Start gives a test a server that it may break. Shared gives all tests of a package one server that none
// may break; they keep apart by Prefix, and the package's TestMain runs through Main.
//
// Guarantee: when Start, Shared, Restart or Resume returns, the server that answers at Addr is the process
// started here. No server outlives its test binary on Linux, even one that was killed; elsewhere a binary
// that is killed leaves its server behind. Data outlives a restart only if the arguments of Start ask for it.
//
// Limit: Unix only, TCP without TLS, no cluster. A missing redis-server fails the test, never skips it.
package redistest
