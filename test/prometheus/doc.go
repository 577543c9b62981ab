// Package prometheus tests what deploy/ has for Prometheus and Grafana: with promtool, and with a real Prometheus that reads
// the numbers of a running hub under load and while its Redis is away. Run it with make test-prometheus, which sets the
// build tag prometheus and says what is missing.
package prometheus
