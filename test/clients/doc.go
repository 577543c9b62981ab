// Package clients tests a running hub with the clients that others read it with: the eventsource library of npm, curl,
// redis-py, the cache of Django and a browser. Run it with make test-clients, which sets the build tag clients and says what is missing.
package clients
