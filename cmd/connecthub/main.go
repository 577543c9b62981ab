// Command connecthub is the integration hub of ConnectBot and its command line. Run it without arguments for help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9/logging"
)

// version is set when the hub is built by make.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.
	logging.Disable()            // go-redis would write lines of its own between those of the log,
	log.SetOutput(io.Discard)    // and net/http what a service sends unasked, names and all.
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdin, os.Stdout, os.Stderr))
}

// app is what the commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	version        string
	// env returns a variable of the environment or of the file .env, "" for none.
	env func(name string) string
}

// errSilent ends a command with status 1 when it has said itself what was wrong.
var errSilent = errors.New("failed")

// usageError says how a command was called wrongly.
type usageError string

func (e usageError) Error() string { return string(e) }

// run parses the command line and runs one command until it ends or ctx does. It returns the exit status: 0, 1 when the
// command failed, 2 when it was called wrongly.
func run(
	ctx context.Context, args []string, lookupEnv func(string) (string, bool), stdin io.Reader, stdout, stderr io.Writer,
) int {
	const failed, misused = 1, 2
	defer http.DefaultClient.CloseIdleConnections()
	env, err := withDotEnv(lookupEnv)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "connecthub:", err)
		return misused
	}
	exited, status := false, 0
	parser, err := kong.New(&commands{},
		kong.Name("connecthub"),
		kong.Description("ConnectBot's integration hub: events over HTTP, Redis Pub/Sub and a log, the bot's menus, and pairs of colleagues.\n\n"+
			"Settings come from flags, else from the environment, else from the file .env in the current folder."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited, status = true, code }),
		kong.Resolvers(settingsFrom(env)),
		kong.ValueFormatter(helpWithSetting),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&app{stdin: stdin, stdout: stdout, stderr: stderr, version: versionText(), env: env}),
	)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "connecthub:", err)
		return failed
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	kctx, err := parser.Parse(args)
	if exited {
		return status
	}
	if err == nil {
		err = kctx.Run()
	} else if wrong := (*settingError)(nil); !errors.As(err, &wrong) {
		err = usageError(err.Error() + `; "connecthub help" shows what there is`)
	} else {
		err = wrong // Without the flag that kong puts before it.
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return failed
	}
	_, _ = fmt.Fprintln(stderr, "connecthub:", err)
	if errors.As(err, new(*settingError)) || errors.As(err, new(usageError)) {
		return misused
	}
	return failed
}

// commands is the command line.
type commands struct {
	Serve    serveCommand    `cmd:"" help:"Run the hub."`
	Check    checkCommand    `cmd:"" help:"Test a running hub, step by step. Exit status 1 when a step fails."`
	Publish  publishCommand  `cmd:"" help:"Publish an event through a running hub."`
	Tail     tailCommand     `cmd:"" help:"Show events as they come, from a running hub."`
	Menu     menuCommand     `cmd:"" help:"Get, set and clear menus of a running hub."`
	Cache    cacheCommand    `cmd:"" help:"Show, clear and warm what a running hub keeps: menus and temporary data."`
	Matching matchingCommand `cmd:"" help:"Show and retry the requests for pairs of a running hub, and make one."`
	Keys     keysCommand     `cmd:"" help:"Make the keys that let services in."`
	Migrate  migrateCommand  `cmd:"" help:"Copy what the Django bot keeps in Redis into the hub's own layout."`
	Version  versionCommand  `cmd:"" help:"Show the version."`
}

type versionCommand struct{}

// Run shows the version.
func (versionCommand) Run(a *app) error {
	_, err := fmt.Fprintln(a.stdout, "connecthub", a.version)
	return err
}

func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
