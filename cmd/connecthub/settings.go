package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

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

// withDotEnv adds what the file .env in the current folder sets and the environment does not.
func withDotEnv(lookupEnv func(string) (string, bool)) (func(string) string, error) {
	file, err := godotenv.Read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the file .env cannot be read: %w", withoutLine(err))
	}
	return func(name string) string {
		if value, ok := lookupEnv(name); ok {
			return value
		}
		return file[name]
	}, nil
}

// withoutLine drops what a parser quotes from the file, which may be a secret.
func withoutLine(err error) error {
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		return err
	}
	return errors.New("a line in it is not NAME=value")
}

// settingsFrom lets the environment set flags that were not given. An empty value counts as none.
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
		if flag.IsBool() && value != "true" && value != "false" {
			return nil, &settingError{name, "must be true or false"}
		}
		return value, nil
	})
}

// helpWithSetting names the variable in the help of its flag.
func helpWithSetting(value *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(value)
	if name := value.Tag.Get(settingTag); name != "" {
		help = strings.TrimRight(help, ".") + " ($" + name + ")."
	}
	return help
}

// secret reads a token from a file and strips what editors leave around it.
func readTokenFile(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the file.
	if err != nil {
		return "", err
	}
	token := strings.Trim(strings.TrimPrefix(string(raw), "\ufeff"), " \t\r\n")
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}

// tokenSettings are how a token is given, to the hub and to the commands that call one.
type tokenSettings struct {
	ServiceAuthToken     string `setting:"SERVICE_AUTH_TOKEN" placeholder:"TOKEN" help:"The token of a key that allows everything."`
	ServiceAuthTokenFile string `setting:"SERVICE_AUTH_TOKEN_FILE" placeholder:"FILE" help:"A file that holds it."`
}

// token returns the token, "" when there is none.
func (t *tokenSettings) token() (string, error) {
	if t.ServiceAuthToken != "" && t.ServiceAuthTokenFile != "" {
		return "", &settingError{"SERVICE_AUTH_TOKEN_FILE", "must not be set together with SERVICE_AUTH_TOKEN"}
	}
	if t.ServiceAuthTokenFile == "" {
		return strings.TrimSpace(t.ServiceAuthToken), nil
	}
	token, err := readTokenFile(t.ServiceAuthTokenFile)
	if err != nil {
		return "", &settingError{"SERVICE_AUTH_TOKEN_FILE", "cannot be read: " + err.Error()}
	}
	return token, nil
}
