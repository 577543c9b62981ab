package ratelimit_test

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // Failures to connect are what some tests are about.
	os.Exit(redistest.Main(m))
}
