package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// settingTag marks a flag that may also be set by an environment variable of that name.
const settingTag = "setting"

// settingError says which setting is wrong, by the name of its variable.
type settingError struct{ name, problem string }

func (e *settingError) Error() string {
	flag := strings.ToLower(strings.ReplaceAll(e.name, "_", "-"))
	return fmt.Sprintf("%s (or --%s) %s", e.name, flag, e.problem)
}

// readDotEnv reads the file .env in the current folder, if there is one.
func readDotEnv() (map[string]string, error) {
	raw, err := os.ReadFile(".env")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the file .env cannot be read: %w", err)
	}
	file, err := godotenv.UnmarshalBytes(bytes.TrimPrefix(raw, []byte(byteOrderMark)))
	if err != nil {
		// The parser's own words quote the file, which may hold a secret.
		return nil, errors.New("the file .env cannot be read: a line in it is not NAME=value")
	}
	return file, nil
}

// withDotEnv adds what the file .env sets and the environment does not. An empty value counts as none.
func withDotEnv(lookupEnv func(string) (string, bool)) (func(string) string, error) {
	file, err := readDotEnv()
	if err != nil {
		return nil, err
	}
	return func(name string) string {
		if value, _ := lookupEnv(name); value != "" {
			return value
		}
		return file[name]
	}, nil
}

// byteOrderMark is what some editors begin a file with.
const byteOrderMark = "\ufeff"

// settingsFrom lets the environment set flags that were not given.
func settingsFrom(env func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		name := flag.Tag.Get(settingTag)
		if name == "" {
			return nil, nil //nolint:nilnil // What kong expects when there is no value.
		}
		value := env(name)
		if value == "" {
			return nil, nil //nolint:nilnil // As above.
		}
		if want := wanted(flag, value); want != "" {
			return nil, &settingError{name, fmt.Sprintf("must be %s, not %q", want, value)}
		}
		return value, nil
	})
}

// wanted returns what a flag's value must be when this is none, and "" when it is. Kong would find the same faults, but
// tell them of the flag, which nobody gave.
func wanted(flag *kong.Flag, value string) string {
	if flag.Enum != "" {
		if slices.Contains(flag.EnumSlice(), value) {
			return ""
		}
		return "one of " + strings.ReplaceAll(flag.Enum, ",", ", ")
	}
	var err error
	switch flag.Target.Interface().(type) {
	case bool:
		if value != "true" && value != "false" {
			return "true or false"
		}
	case time.Duration:
		if _, err = time.ParseDuration(value); err != nil {
			return "a duration such as 24h or 90s"
		}
	case int, int64:
		if _, err = strconv.ParseInt(value, 0, 64); err != nil {
			return "a whole number"
		}
	case uint64:
		if _, err = strconv.ParseUint(value, 0, 64); err != nil {
			return "a whole number of at least 0"
		}
	}
	return ""
}

// helpWithSetting names the variable in the help of its flag.
func helpWithSetting(value *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(value)
	if name := value.Tag.Get(settingTag); name != "" {
		help = strings.TrimRight(help, ".") + " ($" + name + ")."
	}
	return help
}

// readTokenFile reads a token and strips what editors leave around it.
func readTokenFile(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the file.
	if err != nil {
		return "", err
	}
	token := strings.Trim(strings.TrimPrefix(string(raw), byteOrderMark), " \t\r\n")
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}

// tokenSettings are how a token is given, to the hub and to the commands that call one.
type tokenSettings struct {
	ServiceAuthToken     string `setting:"SERVICE_AUTH_TOKEN" placeholder:"TOKEN" help:"The token of a key that allows everything."`
	ServiceAuthTokenFile string `setting:"SERVICE_AUTH_TOKEN_FILE" placeholder:"FILE" help:"A file that holds it. While it is changed, the new one and below it the old one."`
}

// token returns the token to send, "" when there is none, and the setting it comes from. Of two in a file it is the first.
func (t *tokenSettings) token() (token, from string, err error) {
	token, from, err = tokenSet("SERVICE_AUTH_TOKEN", t.ServiceAuthToken, t.ServiceAuthTokenFile)
	token, _, _ = strings.Cut(token, "\n")
	return strings.TrimSpace(token), from, err
}

// tokenLines returns the tokens in a file, one on each line that is not blank.
func tokenLines(raw []byte) (tokens []string) {
	for line := range strings.Lines(strings.TrimPrefix(string(raw), byteOrderMark)) {
		if token := strings.Trim(line, " \t\r\n"); token != "" {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// tokenSet returns the token that a setting holds, or the file that the setting with _FILE names, and which of the two
// settings it comes from. It is "" when neither is set.
func tokenSet(name, token, file string) (value, from string, err error) {
	if file == "" {
		return strings.TrimSpace(token), name, nil
	}
	from = name + "_FILE"
	if token != "" {
		return "", from, &settingError{from, "must not be set together with " + name}
	}
	if value, err = readTokenFile(file); err != nil {
		return "", from, &settingError{from, "cannot be read: " + err.Error()}
	}
	return value, from, nil
}
