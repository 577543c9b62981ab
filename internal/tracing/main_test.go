package tracing_test

import (
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestMain silences what the SDK would write on standard error of collectors that are away.
func TestMain(m *testing.M) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	os.Exit(redistest.Main(m))
}

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second
