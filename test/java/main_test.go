//go:build java

package java

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 30 * time.Second

// theJVM is the service under test. A test gets it from serviceFor.
var theJVM *jvm //nolint:gochecknoglobals // A JVM starts too slowly for one per test.

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "java")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	if theJVM, err = startJVM(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer theJVM.kill()
	return redistest.Main(m,
		// It waits for the process until that is killed above.
		goleak.IgnoreAnyFunction("github.com/connectbot-hub/connecthub/test/java.(*jvm).run"),
		// A link that was cut holds on to what came after the cut.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	)
}
