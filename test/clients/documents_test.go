//go:build clients

package clients

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const module = "../.."

// TestDocumentsShowWhatWorks runs what the documents show in their blocks of sh, each document from top to bottom against a
// hub of its own with an embedded Redis, in a folder that holds connecthub.
//
//   - A call with curl must end with 2xx or 3xx, or with the status that a comment on its line names: "# 412". What
//     calls itself JSON must be JSON.
//   - curl -N and connecthub tail go on beside the rest. In the end they must have shown something.
//   - "0123456789" in If-Match stands for the ETag that came last, and token=… for the token.
//   - connecthub and redis-cli must end with status 0. Of connecthub serve, which needs a real Redis, the flags are read.
//   - make and go are not run: the one must name a target, the other packages that are there. Nothing else may be shown.
//
// TestPythonInDocuments runs their blocks of python.
func TestDocumentsShowWhatWorks(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob(module + "/docs/*.md")
	if err != nil || len(all) == 0 {
		t.Fatalf("%d documents, %v", len(all), err)
	}
	for _, path := range append(all, module+"/README.md") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r := newReader(t)
			for _, command := range shown(string(text)) {
				r.run(command)
			}
			r.finish()
		})
	}
}

// TestPythonInDocuments runs the blocks of python of each document that has some as one program, against a hub of its own.
func TestPythonInDocuments(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob(module + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```python\n(.*?)^```$")
	ran := false
	for _, path := range append(all, module+"/README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		program := ""
		for _, found := range block.FindAllSubmatch(text, -1) {
			program += string(found[1])
		}
		if program == "" {
			continue
		}
		ran = true
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			run(t, r.env, "python3", "-c", program)
			r.hub.stop(t)
		})
	}
	if !ran {
		t.Error("no document has any")
	}
}

// TestDocumentsNameCommandsThatExist tries what the text of the documents names in backquotes, with --help.
func TestDocumentsNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob(module + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`connecthub ([a-z][^`\n…]*)`")
	tried := map[string]bool{}
	for _, path := range append(all, module+"/README.md", module+"/CHANGELOG.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range named.FindAllStringSubmatch(string(text), -1) {
			for _, command := range alternatives(found[1]) {
				if !tried[command] {
					run(t, nil, "bash", "-c", binary+" "+command+" --help")
				}
				tried[command] = true
			}
		}
	}
	if len(tried) < 5 {
		t.Errorf("only %d commands are named", len(tried))
	}
}

// alternatives returns the commands that "cache status|clear" stands for.
func alternatives(command string) (all []string) {
	before, choice, ok := strings.Cut(command, "|")
	if !ok {
		return []string{command}
	}
	words := strings.Fields(before)
	for _, last := range append([]string{words[len(words)-1]}, strings.Split(choice, "|")...) {
		all = append(all, strings.Join(append(slices.Clone(words[:len(words)-1]), last), " "))
	}
	return all
}

// shown returns the commands in the blocks of sh, lines that end in a backslash joined with the next.
func shown(text string) (commands []string) {
	inside, command := false, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && strings.HasSuffix(line, `\`):
			command += line + "\n"
		case inside && strings.TrimSpace(line) != "":
			commands = append(commands, command+line)
			command = ""
		}
	}
	return commands
}

// reader does what a reader of a document does.
type reader struct {
	tb  testing.TB
	hub *hub
	// dir is where the commands run. It holds connecthub, and the headers of the last answer.
	dir string
	env []string
	// here replaces the addresses of the documents by those of this hub.
	here *strings.Replacer
	// etag and token are those that came last.
	etag, token string
	// streams go on until the end.
	streams []*process
}

// newReader starts a hub for a document.
func newReader(tb testing.TB) *reader {
	tb.Helper()
	r := &reader{tb: tb, dir: tb.TempDir()}
	java := httptest.NewServer(http.HandlerFunc(refuseWeek47))
	tb.Cleanup(java.Close)
	redis, metrics := freeAddr(tb), freeAddr(tb)
	// Nobody waits for a request that the service does not know.
	r.hub = serve(tb, "EMBEDDED_REDIS_ADDR="+redis, "METRICS_ADDR="+metrics, "JAVA_SERVICE_URL="+java.URL, "MATCHING_RETRY_FOR=0s")
	_, redisPort, _ := strings.Cut(redis, ":")
	r.here = strings.NewReplacer("http://127.0.0.1:8090", r.hub.url, "http://127.0.0.1:8091", "http://"+metrics,
		"redis-cli -p 6390", "redis-cli -p "+redisPort)
	r.env = []string{
		"HUB_URL=" + r.hub.url, "REDIS_URL=redis://" + redis, "HEADERS=" + filepath.Join(r.dir, "headers"),
		"PATH=" + r.dir + string(os.PathListSeparator) + os.Getenv("PATH"), //nolint:forbidigo // Where curl is.
	}
	absolute, err := filepath.Abs(binary)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Symlink(absolute, filepath.Join(r.dir, "connecthub")); err != nil {
		tb.Fatal(err)
	}
	return r
}

// refuseWeek47 is a Java service that nobody has installed, but for the request that docs/matching.md shows as a dead
// letter, which it refuses.
func refuseWeek47(w http.ResponseWriter, req *http.Request) {
	status := http.StatusNotFound
	if req.Header.Get("X-Request-ID") == "coffee-week-47" {
		status = http.StatusBadRequest
	}
	http.Error(w, "no", status)
}

var (
	// expected is how a line tells that a call fails, as it should.
	expected = regexp.MustCompile(`# (\d{3})\b`)
	serving  = regexp.MustCompile(`\bconnecthub serve\b`)
	packages = regexp.MustCompile(`\./[a-z]\S*`)
)

// run runs a command as it is shown.
func (r *reader) run(command string) {
	r.tb.Helper()
	r.tb.Log(command)
	command = r.here.Replace(command)
	word, rest, _ := strings.Cut(command, " ")
	switch {
	case word == "#":
	case word == "make":
		r.isTarget(rest)
	case word == "go":
		for _, path := range packages.FindAllString(rest, -1) {
			if _, err := os.Stat(filepath.Join(module, path)); err != nil {
				r.tb.Errorf("%s: %v", command, err)
			}
		}
	case serving.MatchString(command):
		r.bash(serving.ReplaceAllString(command, "connecthub serve --help"))
	case strings.Contains(command, "connecthub tail"), word == "curl" && strings.Contains(command, " -N"):
		r.follow(command)
	case word == "curl":
		r.call(command)
	case word == "redis-cli", strings.HasPrefix(word, "./connecthub"), word == "echo":
		r.bash(command)
	default:
		r.tb.Errorf("this test does not know how to run %q", command)
	}
}

// bash runs a command to its end, which must be a good one, and returns what it wrote.
func (r *reader) bash(command string) string {
	r.tb.Helper()
	out := run(r.tb, r.env, "bash", "-euc", "cd "+r.dir+"\n"+command)
	if strings.HasPrefix(command, "redis-cli") && strings.HasPrefix(out, "ERR") {
		r.tb.Errorf("%s\nsays %s", command, out)
	}
	return out
}

// isTarget checks that there is a target of make.
func (r *reader) isTarget(rest string) {
	r.tb.Helper()
	makefile, err := os.ReadFile(module + "/Makefile")
	if err != nil {
		r.tb.Fatal(err)
	}
	name, _, _ := strings.Cut(rest, " ")
	if !strings.Contains(string(makefile), "\n"+name+":") {
		r.tb.Errorf("there is no target %q", name)
	}
}

// quiet makes curl fail when it should, and keep the headers.
const quiet = `curl() { command curl -sS --max-time 30 --dump-header "$HEADERS" "$@"; }` + "\n"

// call calls the hub and checks the answer.
func (r *reader) call(command string) {
	r.tb.Helper()
	command = strings.ReplaceAll(command, `"0123456789"`, r.etag)
	command = strings.ReplaceAll(command, "token=…", "token="+r.token)
	body := r.bash(quiet + command)
	headers, err := os.ReadFile(filepath.Join(r.dir, "headers"))
	if err != nil {
		r.tb.Fatal(err)
	}
	answer := strings.ReplaceAll(string(headers), "\r", "")
	status, _, _ := strings.Cut(strings.TrimPrefix(answer, "HTTP/1.1 "), " ")
	if found := expected.FindStringSubmatch(command); found != nil {
		if status != found[1] {
			r.tb.Errorf("%s\nis answered %s, not %s\n%s", command, status, found[1], body)
		}
	} else if n, err := strconv.Atoi(status); err != nil || n < 200 || n > 399 {
		r.tb.Errorf("%s\nis answered %s\n%s", command, answer, body)
	}
	body = strings.TrimPrefix(strings.ReplaceAll(body, "\r", ""), answer) // With -i it begins with the headers.
	if etag := header(answer, "Etag"); etag != "" {
		r.etag = etag
	}
	if !strings.Contains(header(answer, "Content-Type"), "json") {
		return
	}
	var got struct{ Token string }
	if !json.Valid([]byte(body)) {
		r.tb.Errorf("%s\nis no JSON: %s", command, body)
	} else if json.Unmarshal([]byte(body), &got) == nil && got.Token != "" {
		r.token = got.Token
	}
}

// header returns a header of an answer.
func header(answer, name string) string {
	for line := range strings.Lines(answer) {
		if key, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// follow starts what goes on until it is stopped.
func (r *reader) follow(command string) {
	r.tb.Helper()
	p := start(r.tb, r.env, "bash", "-euc", "cd "+r.dir+"\n"+`curl() { command curl -sS "$@"; }`+"\n"+command)
	if strings.HasPrefix(command, "curl") {
		p.says(r.tb, "retry: ")
	}
	r.streams = append(r.streams, p)
}

// finish checks that what went on has shown events, and that the hub ends well.
func (r *reader) finish() {
	r.tb.Helper()
	for _, p := range r.streams {
		p.await(r.tb, "something is shown by "+p.cmd.Args[2], func() bool {
			text := p.stdout.String()
			return strings.Contains(text, "\nevent: ") || text != "" && !strings.HasPrefix(text, "retry: ")
		})
		p.kill()
	}
	r.hub.stop(r.tb)
}

// TestDocumentsDescribeEveryCheck wants a row in docs/operations.md for each check of /health, and no other.
func TestDocumentsDescribeEveryCheck(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(module + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(text), "\n## Health checks\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	described := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(chapter, -1) {
		described[found[1]] = false
	}
	rds := redistest.Start(t)
	definitions, err := filepath.Abs(module + "/menucache/definitions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h := serve(t, "REDIS_URL="+rds.URL(), "EVENTS_REDIS_URL="+strings.TrimSuffix(rds.URL(), "0")+"1", "MENU_DEFINITIONS="+definitions,
		"MENU_SOURCE_URL=http://"+freeAddr(t), "JAVA_SERVICE_URL=http://"+freeAddr(t), "SERVICE_AUTH_TOKEN=a-token-of-decent-length")
	var health struct{ Checks map[string]any }
	if _, body := get(t, h.url+"/health"); json.Unmarshal([]byte(body), &health) != nil || len(health.Checks) == 0 {
		t.Fatalf("/health says %s", body)
	}
	for name := range health.Checks {
		if _, ok := described[name]; !ok {
			t.Errorf("the check %s is not described", name)
		}
		described[name] = true
	}
	for name, there := range described {
		if !there && name != "certificate" { // Which needs TLS.
			t.Errorf("%s is no check", name)
		}
	}
	h.stop(t)
}
