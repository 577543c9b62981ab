package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/connectbot-hub/connecthub/api"
)

type cacheCommand struct {
	Status cacheStatusCommand `cmd:"" help:"Show how menus and temporary data are, and how much there is of them."`
	Clear  cacheClearCommand  `cmd:"" help:"Clear the menus and temporary data of a user or of everybody, or a namespace."`
	Warm   menuWarmCommand    `cmd:"" help:"Cache menus before anybody asks, as menu warm does. Exit status 1 when one of them fails."`
}

type cacheStatusCommand struct {
	JSON bool `name:"json" help:"Show it in JSON."`

	hubClient `embed:""`
}

// cacheStatus is what cache status shows.
type cacheStatus struct {
	Since    string                     `json:"since"`
	Health   map[string]componentHealth `json:"health"`
	Menus    map[string]float64         `json:"menus"`
	TempData *api.TempDataStats         `json:"temp_data"`
}

// componentHealth is the worst that /health tells of a component.
type componentHealth struct {
	Status api.HealthStatus `json:"status"`
	Output string           `json:"output,omitempty"`
}

// Run asks the hub and shows what it says. That something is wrong with what the hub needs is shown, and no failure.
func (c *cacheStatusCommand) Run(ctx context.Context, a *app) error {
	var health api.Health
	if err := c.call(ctx, http.MethodGet, "/health", nil, nil, &health); err != nil {
		return err
	}
	var stats api.Stats
	if err := c.call(ctx, http.MethodGet, "/stats", nil, nil, &stats); err != nil {
		return err
	}
	status := cacheStatus{Since: stats.Since, Health: map[string]componentHealth{}, Menus: stats.Caches["menus"], TempData: stats.TempData}
	for name, checks := range health.Checks {
		if name == "redis" || name == "temp_data" || strings.HasPrefix(name, "menu") {
			status.Health[name] = worst(checks)
		}
	}
	if status.Menus == nil || status.TempData == nil || len(status.Health) == 0 {
		return fmt.Errorf("what answers at %s tells nothing of menus and temporary data: it is no hub, or an older one", c.shownURL())
	}
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(status)
	}
	return status.show(a.stdout)
}

func worst(checks []api.HealthCheck) (health componentHealth) {
	order := []api.HealthStatus{"", api.HealthStatusPass, api.HealthStatusWarn, api.HealthStatusFail}
	for _, check := range checks {
		if slices.Index(order, check.Status) > slices.Index(order, health.Status) {
			health = componentHealth{check.Status, check.Output}
		}
	}
	return health
}

// inMemory are the operations of temporary data that are no counters: what there is now.
const (
	memoryRecords = "records"
	memoryWaiting = "waiting"
	memoryBytes   = "bytes"
)

// show writes tables. A name that the hub has and this program does not know is shown like the others.
func (s *cacheStatus) show(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "HEALTH\n")
	for _, name := range slices.Sorted(maps.Keys(s.Health)) {
		fmt.Fprintf(table, "  %s\t%s\n", name, strings.TrimSuffix(string(s.Health[name].Status)+": "+s.Health[name].Output, ": "))
	}
	fmt.Fprintf(table, "\nMENUS since %s\n  hit_ratio\t%.1f%%\n", s.Since, 100*s.Menus["hit_ratio"])
	for _, name := range slices.Sorted(maps.Keys(s.Menus)) {
		if name != "hit_ratio" && name != "entries_local" && name != "bytes_local" {
			fmt.Fprintf(table, "  %s\t%.0f\n", name, s.Menus[name])
		}
	}
	fmt.Fprint(table, "\nTEMPORARY DATA, keys by namespace; users for user_* and forms/*\n")
	byNumber := func(a, b string) int {
		return cmp.Or(cmp.Compare(s.TempData.Keys[b], s.TempData.Keys[a]), cmp.Compare(a, b))
	}
	for _, name := range slices.SortedFunc(maps.Keys(s.TempData.Keys), byNumber) {
		fmt.Fprintf(table, "  %s\t%d\n", name, s.TempData.Keys[name])
	}
	switch {
	case len(s.TempData.Keys) > 0:
	case s.Health["redis"].Status != api.HealthStatusPass || s.Health["temp_data"].Status != api.HealthStatusPass:
		fmt.Fprint(table, "  not known: Redis is away\n")
	default:
		fmt.Fprint(table, "  none\n")
	}
	fmt.Fprintf(table, "\nTEMPORARY DATA, operations since %s\n", s.Since)
	ops := s.TempData.Operations
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		if name != memoryRecords && name != memoryWaiting && name != memoryBytes {
			fmt.Fprintf(table, "  %s\t%d\n", name, ops[name])
		}
	}
	fmt.Fprintf(table, "\nMEMORY of the hub now\n  menus\t%.0f entries\t%s\n", s.Menus["entries_local"], kib(s.Menus["bytes_local"]))
	fmt.Fprintf(table, "  temp_data\t%d records\t%s\t%d waiting for Redis\n", ops[memoryRecords], kib(float64(ops[memoryBytes])), ops[memoryWaiting])
	return table.Flush()
}

func kib(bytes float64) string { return fmt.Sprintf("%.1f KiB", bytes/(1<<10)) }

type cacheClearCommand struct {
	User      int64  `xor:"which" required:"" placeholder:"ID" help:"What is kept of this user: menus, values, forms and the state of the conversation."`
	Namespace string `xor:"which" required:"" placeholder:"NS" help:"The values of this namespace of temporary data."`
	All       bool   `xor:"which" required:"" help:"The menus and the temporary data of everybody. Needs --yes, and a key that may do everything."`
	Yes       bool   `help:"Confirm --all."`
	Menus     bool   `xor:"part" help:"Of the user, the menus only."`
	Temp      bool   `xor:"part" help:"Of the user, the temporary data only."`

	hubClient `embed:""`
}

// Help is shown with the flags.
func (cacheClearCommand) Help() string {
	return "Where the hub shares Redis with the Django bot, what the bot keeps of it is cleared too. The log of events stays."
}

// Run clears and shows how much there was.
func (c *cacheClearCommand) Run(ctx context.Context, a *app) error {
	c.patience = time.Minute // There may be a million of them.
	cleared := ""
	var err error
	switch {
	case c.Yes && !c.All:
		return usageError("--yes goes with --all")
	case (c.Menus || c.Temp) && c.User == 0:
		return usageError("--menus and --temp go with --user")
	case c.All && !c.Yes:
		return usageError("--all clears the menus and the temporary data of everybody, forms that users are filling in among them: say --yes as well")
	case c.All:
		cleared, err = c.all(ctx)
	case c.User > 0:
		cleared, err = c.user(ctx)
	case c.Namespace == "": // The user, which may be below 0, or the namespace was given so.
		return usageError("--user must be above 0, and --namespace not empty")
	default:
		cleared, err = c.namespace(ctx)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Cleared: %s\n", cleared)
	return err
}

func (c *cacheClearCommand) all(ctx context.Context) (string, error) {
	var cleared api.CacheCleared
	err := c.call(ctx, http.MethodDelete, "/v1/cache", nil, nil, &cleared)
	return fmt.Sprintf("all menus, %d of temporary data", cleared.TempData), err
}

func (c *cacheClearCommand) user(ctx context.Context) (string, error) {
	id := strconv.FormatInt(c.User, 10)
	switch {
	case c.Menus:
		var menus api.MenusCleared
		err := c.call(ctx, http.MethodDelete, "/v1/menus/"+id, nil, nil, &menus)
		return fmt.Sprintf("%d menus", menus.Cleared), err
	case c.Temp:
		var values, forms api.TempCount
		if err := c.call(ctx, http.MethodDelete, "/v1/users/"+id+"/temp", nil, nil, &values); err != nil {
			return "", err
		}
		err := c.call(ctx, http.MethodDelete, "/v1/users/"+id+"/forms", nil, nil, &forms)
		return fmt.Sprintf("%d of temporary data", values.Cleared+forms.Cleared), err
	}
	var all api.CacheCleared
	if err := c.call(ctx, http.MethodDelete, "/v1/users/"+id+"/cache", nil, nil, &all); err != nil {
		return "", err
	}
	if all.Menus == nil {
		all.Menus = new(int)
	}
	return fmt.Sprintf("%d menus, %d of temporary data", *all.Menus, all.TempData), nil
}

func (c *cacheClearCommand) namespace(ctx context.Context) (string, error) {
	if c.Namespace == "." || c.Namespace == ".." { // Which would be another path.
		return "", usageError("--namespace must be one that the hub shows")
	}
	var values api.TempCount
	err := c.call(ctx, http.MethodDelete, "/v1/temp/"+url.PathEscape(c.Namespace), nil, nil, &values)
	return fmt.Sprintf("%d of %s", values.Cleared, c.Namespace), err
}
