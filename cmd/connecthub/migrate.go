package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/tempdata"
)

type migrateCommand struct {
	From   string `enum:"django" required:"" placeholder:"django" help:"What to copy from: django, the bot's temporary data, forms and menus."`
	DryRun bool   `xor:"mode" required:"" help:"Read and decode everything and say what would be copied. Nothing is written."`
	Apply  bool   `xor:"mode" required:"" help:"Copy. It may be stopped and repeated at any time, also while bot and hubs work."`
	JSON   bool   `name:"json" help:"Report in JSON."`

	RedisURL        string `name:"redis-url" setting:"REDIS_URL" placeholder:"URL" help:"The Redis that holds both."`
	KeyPrefix       string `setting:"KEY_PREFIX" default:"hub" help:"What the hub's keys begin with."`
	DjangoKeyPrefix string `setting:"DJANGO_KEY_PREFIX" default:"connectbot:1" help:"What the bot's keys begin with: its KEY_PREFIX, a colon and the version."`
}

// Help is shown with the flags.
func (migrateCommand) Help() string {
	return "Copies what the Django bot keeps in Redis into the hub's own layout, each with the time to live that it has left, " +
		"unless the hub has it as new. The bot's keys stay. Exit status 1 when something could not be read or Redis did not answer."
}

// Run copies and reports.
func (c *migrateCommand) Run(ctx context.Context, a *app) error {
	if err := c.validate(); err != nil {
		return err
	}
	rdb, err := redisconn.Open(c.RedisURL)
	if err != nil {
		return &settingError{"REDIS_URL", err.Error()}
	}
	defer func() { _ = rdb.Close() }() // Every reply was read by then.
	bar := newProgressBar(a.stderr)
	report, err := tempdata.Migration{
		Redis: rdb, Prefix: c.KeyPrefix, DjangoPrefix: c.DjangoKeyPrefix, Apply: c.Apply, Progress: bar.show,
	}.Run(ctx)
	bar.close()
	nothing := len(report.Namespaces) == 0 && report.Unknown == 0
	if err == nil || !nothing {
		if shown := c.report(a.stdout, report); shown != nil {
			return shown
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("stopped before the end; run it again to go on")
	case err != nil:
		return errors.New(ofTempData(err.Error()) + "; run it again to go on")
	case nothing:
		fmt.Fprintf(a.stderr, "connecthub: no key begins with %s: there is nothing to copy; see --django-key-prefix and --redis-url\n", c.DjangoKeyPrefix)
	}
	unreadable := int64(0)
	for _, n := range report.Namespaces {
		unreadable += n.Unreadable
	}
	if unreadable > 0 {
		return fmt.Errorf("%d of the bot's keys could not be copied", unreadable)
	}
	return nil
}

func (c *migrateCommand) validate() error {
	switch {
	case c.RedisURL == "":
		return &settingError{"REDIS_URL", "must be set: it names the Redis that holds what the bot keeps"}
	case events.CheckPrefix(c.KeyPrefix) != nil:
		return &settingError{"KEY_PREFIX", "must be 1 to 64 ASCII letters, digits, '_' and '-'"}
	case c.DjangoKeyPrefix == "" || len(c.DjangoKeyPrefix) > 128 || strings.HasSuffix(c.DjangoKeyPrefix, ":"):
		return &settingError{"DJANGO_KEY_PREFIX", "must have 1 to 128 bytes and no colon at the end, such as connectbot:1"}
	case c.DjangoKeyPrefix == c.KeyPrefix:
		return &settingError{"DJANGO_KEY_PREFIX", "must not be KEY_PREFIX"}
	}
	return nil
}

// report writes what was done: a table, and under it why something was not copied. It changes the reasons.
func (c *migrateCommand) report(out io.Writer, report tempdata.MigrationReport) error {
	for _, n := range report.Namespaces {
		for i := range n.Problems {
			n.Problems[i].Reason = ofTempData(n.Problems[i].Reason)
		}
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(report)
	}
	copied := "COPIED"
	if !c.Apply {
		copied = "WOULD COPY"
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "NAMESPACE\tFOUND\t%s\tKEPT HERE\tEXPIRED\tUNREADABLE\tWITHOUT EXPIRY\n", copied)
	for _, n := range report.Namespaces {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", n.Namespace, n.Found, n.Copied, n.Kept, n.Expired, n.Unreadable, n.Endless)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "Other keys of the bot, which are not copied: %d\n", report.Unknown)
	for _, n := range report.Namespaces {
		if n.Endless > 0 {
			fmt.Fprintf(out, "%s: %d had no expiry, and get the usual one of their namespace here.\n", n.Namespace, n.Endless)
		}
		if n.Unreadable > 0 {
			fmt.Fprintf(out, "%s: %d could not be copied, of which %d would build an object:\n", n.Namespace, n.Unreadable, n.Unsafe)
		}
		for _, p := range n.Problems {
			fmt.Fprintf(out, "  %s: %s\n", plainKey(p.Key), p.Reason)
		}
		if more := n.Unreadable - int64(len(n.Problems)); more > 0 {
			fmt.Fprintf(out, "  and %d more\n", more)
		}
	}
	return nil
}

// plainKey is a key as a terminal may show it.
func plainKey(key string) string {
	if quoted := strconv.QuoteToGraphic(key); quoted != `"`+key+`"` {
		return quoted
	}
	return key
}

// ofTempData is what an error says, without the names of packages.
func ofTempData(text string) string {
	return strings.NewReplacer("tempdata: ", "", "djangocache: ", "").Replace(text)
}

// progressBar shows how far something is: as a bar on a terminal, and otherwise as a line now and then.
type progressBar struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	shown    time.Time
	drawn    bool
}

const (
	barWidth = 40
	// On a terminal, and otherwise.
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 10 * time.Second
)

func newProgressBar(out io.Writer) *progressBar {
	bar := &progressBar{out: out, now: time.Now, shown: time.Now()}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		bar.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return bar
}

// show is called with how much is done of how much.
func (b *progressBar) show(done, total int64) {
	every := lineEvery
	if b.terminal {
		every = redrawEvery
	}
	now, percent := b.now(), 100*done/max(total, 1)
	if now.Sub(b.shown) < every {
		return
	}
	b.shown = now
	if !b.terminal {
		fmt.Fprintf(b.out, "%d%% of about %d keys looked at\n", percent, total)
		return
	}
	full := int(percent * barWidth / 100)
	fmt.Fprintf(b.out, "\r[%s%s] %3d%% of about %d keys", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent, total)
	b.drawn = true
}

// close takes the bar away, for what is written then.
func (b *progressBar) close() {
	if b.drawn {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
