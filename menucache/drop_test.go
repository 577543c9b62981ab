package menucache_test

import (
	"context"
	"errors"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// TestDrop clears menus for a caller who tells of it: nothing else does.
func TestDrop(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode, func(c *menucache.Config) {
				c.Announce = func(_ context.Context, userID int64, data []byte) error {
					t.Errorf("told %d %s", userID, data)
					return nil
				}
			})
			seven, eight := menucache.Key{UserID: 7, Type: "main"}, menucache.Key{UserID: 8, Type: "main"}
			for _, key := range []menucache.Key{seven, {UserID: 7, Type: "help"}, eight} {
				one.set(t, menucache.Write{Key: key, Menu: own("a")})
			}
			if n, err := one.DropUser(t.Context(), 7); n != 2 || err != nil {
				t.Errorf("dropped %d, %v", n, err)
			}
			after(lag)
			other.want(t, ask(seven, "", ""), one.built(t, ask(seven, "", "")), "MISS")
			other.want(t, ask(eight, "", ""), string(own("a")), "HIT")
			if err := one.DropAll(t.Context()); err != nil {
				t.Error(err)
			}
			after(lag)
			other.want(t, ask(eight, "", ""), one.built(t, ask(eight, "", "")), "MISS")
			var invalid *menucache.InvalidError
			if _, err := one.DropUser(t.Context(), 0); !errors.As(err, &invalid) || invalid.Fields[0].Field != "user_id" {
				t.Errorf("dropping nobody's: %v", err)
			}
		})
	}
}
