package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// settings returns the flags that may be set by a variable, by its name: of the first command that has it.
func settings(tb testing.TB) map[string]*kong.Flag {
	tb.Helper()
	parser, err := kong.New(&commands{})
	if err != nil {
		tb.Fatal(err)
	}
	found := map[string]*kong.Flag{}
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			if name := flag.Tag.Get(settingTag); name != "" && found[name] == nil {
				found[name] = flag
			}
		}
		return next(nil)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

// parse reads a command line as run does, and returns the value that the setting has then.
func parse(tb testing.TB, name string, env environment, args ...string) any {
	tb.Helper()
	lookup, err := withDotEnv(env.lookup)
	if err != nil {
		tb.Fatal(err)
	}
	parser, err := kong.New(&commands{}, kong.Resolvers(settingsFrom(lookup)))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		tb.Fatal(err)
	}
	for _, flag := range ctx.Flags() {
		if flag.Tag.Get(settingTag) == name {
			return flag.Target.Interface()
		}
	}
	tb.Fatalf("%q has no setting %s", args, name)
	return nil
}

// commandOf is a command that takes a setting, with what else it needs.
func commandOf(name string) []string {
	switch name {
	case "HUB_URL", "HUB_CA_FILE", "HUB_CLIENT_CERT_FILE", "HUB_CLIENT_KEY_FILE":
		return []string{"check"}
	default:
		return []string{"serve"}
	}
}

func TestFlagsComeBeforeTheEnvironmentAndThatBeforeDotEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, flag := range settings(t) {
		var dotEnv, fromEnv, fromFlag string
		switch flag.Target.Interface().(type) {
		case bool:
			dotEnv, fromEnv, fromFlag = "false", "true", "false"
		case time.Duration:
			dotEnv, fromEnv, fromFlag = "1h1m0s", "1h2m0s", "1h3m0s"
		case int, int64, uint64:
			dotEnv, fromEnv, fromFlag = "11", "12", "13"
		default:
			dotEnv, fromEnv, fromFlag = "one", "two", "three"
			if flag.Enum != "" {
				dotEnv, fromEnv = flag.EnumSlice()[0], flag.EnumSlice()[1]
				fromFlag = dotEnv
			}
		}
		t.Run(name, func(t *testing.T) {
			command := commandOf(name)
			expect := func(what, want string, env environment, args ...string) {
				t.Helper()
				if got := fmt.Sprint(parse(t, name, env, append(command, args...)...)); got != want {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			}
			write(t, ".env", "# nothing\n")
			deflt := fmt.Sprint(parse(t, name, nil, command...))
			write(t, ".env", "OTHER=1\n"+name+"="+dotEnv+"\n")
			expect(".env alone", dotEnv, nil)
			expect(".env and an empty variable", dotEnv, environment{name: ""})
			expect(".env and environment", fromEnv, environment{name: fromEnv})
			expect("all three", fromFlag, environment{name: fromEnv}, "--"+flag.Name+"="+fromFlag)
			write(t, ".env", name+"=\n")
			expect("empty in .env", deflt, nil)
			expect("empty in .env, and environment", fromEnv, environment{name: fromEnv})
		})
	}
}

func TestDotEnvIsReadAsEditorsWriteIt(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".env", "\ufeff# Beginning with a byte order mark.\r\nexport CHANNEL_PREFIX=windows # and more\r\nREDIS_URL='redis://:$ecret#1@host'\r\n")
	if got := parse(t, "CHANNEL_PREFIX", nil, "serve"); got != "windows" {
		t.Errorf("CHANNEL_PREFIX is %q", got)
	}
	if got := parse(t, "REDIS_URL", nil, "serve"); got != "redis://:$ecret#1@host" {
		t.Errorf("REDIS_URL is %q", got)
	}
}

func TestADotEnvThatCannotBeReadIsToldWithoutItsContent(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".env", "SERVICE_AUTH_TOKEN=tops3cret\nnonsense tops3cret\n")
	got := call(t, nil, "serve")
	got.want(t, 2, "connecthub: the file .env cannot be read", "NAME=value")
	if strings.Contains(got.stderr, "tops3cret") {
		t.Errorf("it tells a secret: %s", got.stderr)
	}
	if err := os.Remove(".env"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(".env", 0o700); err != nil {
		t.Fatal(err)
	}
	call(t, nil, "serve").want(t, 2, "connecthub: the file .env cannot be read", "directory")
}

func TestDotEnvReachesACommand(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".env", "HUB_URL=nonsense\n")
	call(t, nil, "check").want(t, 2, "HUB_URL (or --hub-url) must be a URL")
}

// TestABadSettingIsNamed also checks that every setting is in its table.
func TestABadSettingIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, content)
		return path
	}
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	secure := newCertificates(t)
	const token = "a-token-of-decent-length"
	whole, least1 := `must be a whole number, not "many"`, "must be at least 1"
	duration, least1s := `must be a duration such as 24h or 90s, not "5"`, "must be at least 1s"
	url, path := "must be a URL such as redis://", "must end with a database number"
	var covered []string
	for _, test := range []struct {
		name  string
		value string
		want  string
		more  []string // other variables, names and values in turn
	}{
		{"HTTP_ADDR", "8090", "must be host:port, such as 127.0.0.1:8090", nil},
		{"HTTP_ADDR", "127.0.0.1:x", "cannot be listened on", nil},
		{"HTTP_ADDR", "127.0.0.1:99999", "cannot be listened on", nil},
		{"HTTP_ADDR", taken.Addr().String(), "address already in use", nil},
		{"HTTP_ADDR", "0.0.0.0:0", "must be a loopback address", nil},
		{"HTTP_ADDR", ":0", "set SERVICE_AUTH_TOKEN, SERVICE_AUTH_TOKEN_FILE or HUB_KEYS_FILE", nil},
		{"HTTP_ADDR", "hub.example:0", "must be a loopback address", nil},
		{"REDIS_URL", "http://:s3cret@host", "must begin with redis://, rediss:// or unix://", nil},
		{"REDIS_URL", "localhost:6379", "must begin with redis://", nil},
		{"REDIS_URL", "127.0.0.1:6379", url, nil},
		{"REDIS_URL", "redis:localhost", url, nil},
		{"REDIS_URL", "redis://:12#s3cret@host", "%23", nil},
		{"REDIS_URL", "redis://:s3cret/s3cret@host/0", "percent-encoded", nil},
		{"REDIS_URL", "redis://:s3cret%zs3cret@host/0", "percent-encoded", nil},
		{"REDIS_URL", "redis://:12/s3cret@host", path, nil},
		{"REDIS_URL", "redis://:12?s3cret@host", path, nil},
		{"REDIS_URL", "redis://host/one/two", path, nil},
		{"REDIS_URL", "redis://host/0?read_timeout=s3cret", path, nil},
		{"REDIS_URL", "unix://", "the path of a socket", nil},
		{"REDIS_URL", "nonsense://", "must begin with redis://", []string{"EVENTS_REDIS_URL", "redis://127.0.0.1:1"}},
		{"EVENTS_REDIS_URL", "s3cret", "must begin with redis://", []string{"REDIS_URL", "redis://127.0.0.1:1"}},
		{"EMBEDDED_REDIS_ADDR", "6390", "must be host:port", nil},
		{"EMBEDDED_REDIS_ADDR", "0.0.0.0:6390", "the embedded Redis has no password", nil},
		{"EMBEDDED_REDIS_ADDR", taken.Addr().String(), "address already in use", nil},
		{"SERVICE_AUTH_TOKEN", "s3cret", "at least 16 characters", nil},
		{"SERVICE_AUTH_TOKEN_FILE", file("token", token), "must not be set together with SERVICE_AUTH_TOKEN", []string{"SERVICE_AUTH_TOKEN", token}},
		{"SERVICE_AUTH_TOKEN_FILE", filepath.Join(dir, "none"), "no such file", nil},
		{"SERVICE_AUTH_TOKEN_FILE", file("blank", "\ufeff \r\n\t\r\n"), "is empty", nil},
		{"SERVICE_AUTH_TOKEN_FILE", file("short", "s3cret\n"), "at least 16 characters", nil},
		{"SERVICE_AUTH_TOKEN_FILE", file("three", token+"1\n"+token+"2\n"+token+"3\n"), "must hold one token, or a new one and the old one", nil},
		{"SERVICE_AUTH_TOKEN_FILE", file("new-and-short", token+"\ns3cret\n"), "at least 16 characters", nil},
		{"AUDIT_LOG_FILE", filepath.Join(dir, "none", "audit.log"), "cannot be written", nil},
		{"AUDIT_LOG_FILE", dir, "cannot be written", nil},
		{"HUB_KEYS_FILE", filepath.Join(dir, "none"), "no such file", nil},
		{"HUB_KEYS_FILE", file("keys-none", `{"keys":[]}`), "holds no keys", nil},
		{"HUB_KEYS_FILE", file("keys-broken", "{"), "keys-broken", nil},
		{"HUB_KEYS_FILE", file("keys-token", `{"keys":[{"id":"a","token":"s3cret"}]}`), `"/keys/0/token" is not known`, nil},
		{"HUB_KEYS_FILE", file("keys-scope", fmt.Sprintf(`{"keys":[{"id":"a","name":"a","sha256":"%064d","scopes":["all"]}]}`, 1)), `"all" is no scope`, nil},
		{"CHANNEL_PREFIX", "my prefix", "ASCII letters", nil},
		{"CHANNEL_PREFIX", "connectbot:", "ASCII letters", nil},
		{"BRIDGE_LEGACY", "1", `must be true or false, not "1"`, nil},
		{"DEDUPE_WINDOW", "5", duration, nil},
		{"DEDUPE_WINDOW", "10ms", least1s, nil},
		{"USER_LOG_ENTRIES", "many", whole, nil},
		{"USER_LOG_ENTRIES", "0", least1, nil},
		{"GLOBAL_LOG_ENTRIES", "many", whole, nil},
		{"GLOBAL_LOG_ENTRIES", "-1", least1, nil},
		{"SERVICE_LOG_ENTRIES", "many", whole, nil},
		{"SERVICE_LOG_ENTRIES", "0", least1, nil},
		{"USER_LOG_AGE", "5", duration, nil},
		{"USER_LOG_AGE", "0", least1s, nil},
		{"GLOBAL_LOG_AGE", "5", duration, nil},
		{"GLOBAL_LOG_AGE", "-1h", least1s, nil},
		{"SERVICE_LOG_AGE", "5", duration, nil},
		{"SERVICE_LOG_AGE", "999ms", least1s, nil},
		{"MAX_STREAMS", "many", whole, nil},
		{"MAX_STREAMS", "0", least1, nil},
		{"MAX_STREAMS_PER_KEY", "many", whole, nil},
		{"MAX_STREAMS_PER_KEY", "0", "must be from 1 to 1000000", nil},
		{"MAX_CONNECTIONS", "many", whole, nil},
		{"MAX_CONNECTIONS", "0", "must be from 1 to 1000000", nil},
		{"RATE_LIMIT_PER_KEY", "many", whole, nil},
		{"RATE_LIMIT_PER_KEY", "-1", "must be from 0 to 1000000", nil},
		{"RATE_LIMIT_PER_ADDRESS", "many", whole, nil},
		{"RATE_LIMIT_PER_ADDRESS", "1000001", "must be from 0 to 1000000", nil},
		{"TRUSTED_PROXIES", "10.0.0.7, proxy.example", `such as 10.0.0.7,192.168.0.0/16, which "proxy.example" is not`, nil},
		{"TRUSTED_PROXIES", "10.0.0.0/33", `which "10.0.0.0/33" is not`, nil},
		{"METRICS_ADDR", "8091", "must be host:port, such as 127.0.0.1:8091, or off", nil},
		{"METRICS_ADDR", "127.0.0.1:99999", "cannot be listened on", nil},
		{"METRICS_ADDR", taken.Addr().String(), "address already in use", nil},
		{"TLS_CERT_FILE", filepath.Join(dir, "none"), "no such file", []string{"TLS_KEY_FILE", secure.key}},
		{"TLS_CERT_FILE", "", "must be set together with TLS_KEY_FILE", []string{"TLS_KEY_FILE", secure.key}},
		{"TLS_CERT_FILE", secure.ca, "cannot be used with " + secure.key, []string{"TLS_KEY_FILE", secure.key}},
		{"TLS_CERT_FILE", file("cert-empty", ""), "holds no certificate in PEM", []string{"TLS_KEY_FILE", secure.key}},
		{"TLS_KEY_FILE", "", "must be set together with TLS_CERT_FILE", []string{"TLS_CERT_FILE", secure.cert}},
		{"TLS_KEY_FILE", dir, "is a directory", []string{"TLS_CERT_FILE", secure.cert}},
		{"TLS_KEY_FILE", file("key-broken", "s3cret"), "holds no key in PEM", []string{"TLS_CERT_FILE", secure.cert}},
		{"TLS_CLIENT_CA_FILE", secure.ca, "must be set together with TLS_CERT_FILE and TLS_KEY_FILE", nil},
		{"TLS_CLIENT_CA_FILE", file("ca-broken", "s3cret"), "holds no certificate in PEM", []string{"TLS_CERT_FILE", secure.cert, "TLS_KEY_FILE", secure.key}},
		{"STREAM_QUEUE", "many", whole, nil},
		{"STREAM_QUEUE", "0", least1, nil},
		{"SHUTDOWN_DELAY", "5", duration, nil},
		{"SHUTDOWN_DELAY", "-1s", "must be from 0s to 5m", nil},
		{"SHUTDOWN_DELAY", "6m", "must be from 0s to 5m", nil},
		{"SHUTDOWN_TIMEOUT", "5", duration, nil},
		{"SHUTDOWN_TIMEOUT", "0s", "must be above 0", nil},
		{"DISK_LOW_MIB", "much", `must be a whole number, not "much"`, nil},
		{"DISK_LOW_MIB", "-1", "must be from 0 to 1073741824", nil},
		{"HEALTH_INTERVAL", "5", duration, nil},
		{"HEALTH_INTERVAL", "99ms", "must be from 100ms to 5s", nil},
		{"HEALTH_INTERVAL", "6s", "must be from 100ms to 5s", nil},
		{"KEY_PREFIX", "my prefix", "ASCII letters", nil},
		{"DJANGO_COMPAT", "yes", `must be true or false, not "yes"`, nil},
		{"DJANGO_KEY_PREFIX", "connectbot:1:", "no colon at the end", nil},
		{"DJANGO_KEY_PREFIX", strings.Repeat("x", 129), "must have 1 to 128 bytes", nil},
		{"MENU_DEFINITIONS", filepath.Join(dir, "none"), "no such file", nil},
		{"MENU_DEFINITIONS", dir, "no regular file", nil},
		{"MENU_DEFINITIONS", file("menus", "menus: [\n"), "cannot be used: the menu definitions in " + filepath.Join(dir, "menus") + ": line ", nil},
		{"MENU_TTL", "5", duration, nil},
		{"MENU_TTL", "500ms", "must be from 1s to 720h0m0s", nil},
		{"MENU_TTL", "721h", "must be from 1s to 720h0m0s", nil},
		{"MENU_STALE", "5", duration, nil},
		{"MENU_STALE", "-1s", "must be at least 0s", nil},
		{"MENU_STALE", "5m", "less than MENU_TTL, which is 1m0s", []string{"MENU_TTL", "1m"}},
		{"MENU_LOCAL_MIB", "many", `must be a whole number of at least 0, not "many"`, nil},
		{"MENU_LOCAL_MIB", "-1", `must be a whole number of at least 0, not "-1"`, nil},
		{"MENU_LOCAL_MIB", "0", "must be from 1 to 1048576", nil},
		{"MENU_LOCAL_MIB", "18446744073709551615", "must be from 1 to 1048576", nil},
		{"MENU_WARM", "many", whole, nil},
		{"MENU_WARM", "-1", "must be from 0 to 10000", nil},
		{"MENU_WARM", "10001", "must be from 0 to 10000", nil},
		{"MENU_SOURCE_URL", "s3cret", "cannot be used: the menu source's URL must be http:// or https:// with a host", nil},
		{"MENU_SOURCE_URL", "http://u:s3cret%z@host", "must be http:// or https:// with a host", nil},
		{"MENU_SOURCE_URL", "https://u:s3cret@host/?s3cret=1", "no query", nil},
		{"MENU_SOURCE_TOKEN", "s3cret s3cret", "must be visible ASCII characters", nil},
		{"MENU_SOURCE_TOKEN_FILE", file("source-token", token), "must not be set together with MENU_SOURCE_TOKEN", []string{"MENU_SOURCE_TOKEN", token}},
		{"MENU_SOURCE_TOKEN_FILE", filepath.Join(dir, "none"), "no such file", nil},
		{"MENU_SOURCE_TOKEN_FILE", file("lines", "s3cret\ns3cret\n"), "must be visible ASCII characters", nil},
		{"MENU_SOURCE_TIMEOUT", "5", duration, nil},
		{"MENU_SOURCE_TIMEOUT", "0s", "must be from 1ms to 5s", nil},
		{"MENU_SOURCE_TIMEOUT", "11s", "must be from 1ms to 5s", nil},
		{"TEMPDATA_FALLBACK", "on", `must be one of memory, off, not "on"`, nil},
		{"TEMPDATA_MEMORY_MIB", "many", whole, nil},
		{"TEMPDATA_MEMORY_MIB", "0", "must be from 1 to 1048576", nil},
		{"JAVA_SERVICE_URL", "s3cret", "cannot be used: the URL must be http:// or https:// with a host", nil},
		{"JAVA_SERVICE_URL", "http://u:s3cret%z@host", "must be http:// or https:// with a host", nil},
		{"JAVA_SERVICE_URL", "https://u:s3cret@host/?s3cret=1", "no query", nil},
		{"JAVA_SERVICE_TOKEN", "s3cret s3cret", "must be visible ASCII characters", nil},
		{"JAVA_SERVICE_TOKEN_FILE", file("java-token", token), "must not be set together with JAVA_SERVICE_TOKEN", []string{"JAVA_SERVICE_TOKEN", token}},
		{"JAVA_SERVICE_TOKEN_FILE", filepath.Join(dir, "none"), "no such file", nil},
		{"JAVA_SERVICE_TOKEN_FILE", file("java-lines", "s3cret\ns3cret\n"), "must be visible ASCII characters", nil},
		{"JAVA_TIMEOUT", "5", duration, nil},
		{"JAVA_TIMEOUT", "0s", "must be from 1ms to 20s", nil},
		{"JAVA_TIMEOUT", "21s", "must be from 1ms to 20s", nil},
		{"JAVA_TIMEOUT_TOTAL", "5", duration, nil},
		{"JAVA_TIMEOUT_TOTAL", "9s", "must be at least JAVA_TIMEOUT, which is 10s, and at most 25s", nil},
		{"JAVA_TIMEOUT_TOTAL", "26s", "at most 25s", nil},
		{"MATCHING_FALLBACK", "true", `must be one of on, off, not "true"`, nil},
		{"MATCHING_CACHE_TTL", "5", duration, nil},
		{"MATCHING_CACHE_TTL", "-1s", "must be from 0s to 24h", nil},
		{"MATCHING_CACHE_TTL", "25h", "must be from 0s to 24h", nil},
		{"MATCHING_RETRY_FOR", "5", duration, nil},
		{"MATCHING_RETRY_FOR", "-1s", "must be from 0s to 24h", nil},
		{"MATCHING_RETRY_FOR", "25h", "must be from 0s to 24h", nil},
		{"MATCHING_WORKERS", "many", whole, nil},
		{"MATCHING_WORKERS", "0", "must be from 1 to 100", nil},
		{"MATCHING_WORKERS", "101", "must be from 1 to 100", nil},
		{"MATCHING_ATTEMPTS", "many", whole, nil},
		{"MATCHING_ATTEMPTS", "0", "must be from 1 to 100", nil},
		{"MATCHING_ATTEMPTS", "101", "must be from 1 to 100", nil},
		{"LOG_LEVEL", "loud", `must be one of debug, info, warn, error, not "loud"`, nil},
		{"LOG_FORMAT", "xml", `must be one of json, console, not "xml"`, nil},
		{"HUB_URL", "127.0.0.1:8090", "must be a URL such as http://127.0.0.1:8090", nil},
		{"HUB_URL", "ftp://host", "must be a URL such as http://127.0.0.1:8090", nil},
		{"HUB_CA_FILE", filepath.Join(dir, "none"), "no such file", nil},
		{"HUB_CLIENT_CERT_FILE", "cert.pem", "must be set together with HUB_CLIENT_KEY_FILE", nil},
		{"HUB_CLIENT_KEY_FILE", "key.pem", "must be set together with HUB_CLIENT_CERT_FILE", nil},
	} {
		covered = append(covered, test.name)
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Parallel()
			env := environment{"HTTP_ADDR": "127.0.0.1:0", "EMBEDDED_REDIS_ADDR": "127.0.0.1:0", "METRICS_ADDR": noAddr}.with(test.name, test.value).with(test.more...)
			got := call(t, env, commandOf(test.name)...)
			flag := "--" + strings.ToLower(strings.ReplaceAll(test.name, "_", "-"))
			got.want(t, 2, "connecthub: "+test.name+" (or "+flag+") ", test.want)
			if strings.Contains(got.stderr, "s3cret") {
				t.Errorf("it tells a secret: %s", got.stderr)
			}
		})
	}
	for name := range settings(t) {
		if !slices.Contains(covered, name) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func TestABadFlagIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ arg, want string }{
		{"--max-streams=many", "--max-streams"},
		{"--dedupe-window=5", "--dedupe-window"},
		{"--log-format=xml", "--log-format"},
		{"--redis-url=http://:s3cret@host", "REDIS_URL (or --redis-url)"},
		{"--http-addr=", "HTTP_ADDR (or --http-addr)"},
		{"--menu-local-mib=many", "--menu-local-mib"},
		{"--menu-source-url=ftp://:s3cret@host", "MENU_SOURCE_URL (or --menu-source-url)"},
	} {
		got := call(t, nil, "serve", test.arg)
		got.want(t, 2, test.want)
		if strings.Contains(got.stderr, "s3cret") {
			t.Errorf("%s tells a secret: %s", test.arg, got.stderr)
		}
	}
}

func TestATokenFileIsReadAsEditorsWriteIt(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-decent-length"
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "\ufeff"+token+" \r\n\r\n")
	hub := serve(t, environment{"SERVICE_AUTH_TOKEN_FILE": path})
	publish := []string{"publish", "--global", "test_event"}
	call(t, hub.client(), publish...).want(t, 1, "401 unauthorized", "set SERVICE_AUTH_TOKEN or SERVICE_AUTH_TOKEN_FILE")
	call(t, hub.client().with("SERVICE_AUTH_TOKEN", "another-token-of-length"), publish...).want(t, 1, "Send the token of a valid key")
	call(t, hub.client().with("SERVICE_AUTH_TOKEN", token), publish...).want(t, 0, "connectbot:global")
	call(t, hub.client().with("SERVICE_AUTH_TOKEN_FILE", path), publish...).want(t, 0, "connectbot:global")
}

func write(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}
