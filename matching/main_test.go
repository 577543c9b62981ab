package matching_test

import (
	"os"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
