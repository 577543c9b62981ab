//go:build prometheus

package prometheus

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The files under test.
const (
	configFile    = "../../deploy/prometheus/prometheus.yml"
	rulesFile     = "../../deploy/prometheus/connecthub.rules.yml"
	rulesTestFile = "../../deploy/prometheus/connecthub.rules.test.yml"
	dashboardFile = "../../deploy/grafana/connecthub.json"
	operations    = "../../docs/operations.md"
)

// promtool runs promtool, which must find nothing wrong.
func promtool(tb testing.TB, stdin string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// alert is one of the rules.
type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(tb testing.TB) (all []alert) {
	tb.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal([]byte(read(tb, rulesFile)), &file); err != nil {
		tb.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		tb.Fatal("there are no alerts")
	}
	return all
}

// panel is one of the dashboard's.
type panel struct {
	Title, Description, Type string
	Datasource               struct{ UID string }
	Targets                  []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

// panels returns those of the dashboard, but for the titles of its rows.
func panels(tb testing.TB) (all []panel) {
	tb.Helper()
	var file struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(tb, dashboardFile)), &file); err != nil {
		tb.Fatal(err)
	}
	for _, panel := range file.Panels {
		if panel.Type != "row" {
			all = append(all, panel)
		}
	}
	if len(all) == 0 {
		tb.Fatal("there are no panels")
	}
	return all
}

// filled puts in what Grafana would for its variables.
func filled(expr string) string {
	return strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m").Replace(expr)
}

var metricName = regexp.MustCompile(`\b(?:connecthub|go|process)_[a-z0-9_]+\b`)

func TestPromtoolAcceptsTheFiles(t *testing.T) {
	promtool(t, "", "check", "config", configFile)
	promtool(t, "", "check", "rules", "--lint-fatal", rulesFile)
	promtool(t, "", "test", "rules", rulesTestFile)
}

func TestEachAlertIsTestedAndExplained(t *testing.T) {
	tests, manual := read(t, rulesTestFile), read(t, operations)
	for _, a := range alerts(t) {
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s has the severity %q", a.Alert, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s does not say what it means", a.Alert)
		}
		if want := "docs/operations.md#" + strings.ToLower(a.Alert); !strings.HasSuffix(a.Annotations["runbook_url"], want) {
			t.Errorf("%s leads to %q, not to %s", a.Alert, a.Annotations["runbook_url"], want)
		}
		if !regexp.MustCompile(`(?m)^#+ ` + a.Alert + `$`).MatchString(manual) {
			t.Errorf("docs/operations.md has no section with the title %s", a.Alert)
		}
		fires := strings.Contains(tests, `alertname="`+a.Alert+`"`) || strings.Contains(tests, "alertname: "+a.Alert+"\n")
		if !fires {
			t.Errorf("no test of the rules has %s fire", a.Alert)
		}
	}
}

func TestTheDashboardCanBeImported(t *testing.T) {
	var file struct {
		Inputs        []struct{ Name, Type, PluginID string } `json:"__inputs"`
		Title, UID    string
		SchemaVersion int
		Panels        []struct {
			ID      int
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Inputs) != 1 || file.Inputs[0].Name != "DS_PROMETHEUS" || file.Inputs[0].Type != "datasource" || file.Inputs[0].PluginID != "prometheus" {
		t.Errorf("it asks for %+v", file.Inputs)
	}
	if file.Title == "" || file.UID == "" || file.SchemaVersion < 36 {
		t.Errorf("%q, uid %q, schemaVersion %d", file.Title, file.UID, file.SchemaVersion)
	}
	ids := make(map[int]bool)
	for i, p := range file.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for _, q := range file.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("the panels %d and %d lie upon each other", q.ID, p.ID)
			}
		}
	}
	const source = "${DS_PROMETHEUS}"
	for _, p := range panels(t) {
		if p.Title == "" || p.Description == "" || p.Datasource.UID != source || len(p.Targets) == 0 {
			t.Errorf("the panel %q has no description, no expression or another data source", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != source || !strings.Contains(target.Expr, `job="connecthub", instance=~"$instance"`) {
				t.Errorf("the panel %q asks %s of %s", p.Title, target.Expr, target.Datasource.UID)
			}
		}
	}
}
