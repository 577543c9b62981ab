package tempdata

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// Migration copies what the Django bot keeps in Redis into the layout that the hub uses when it shares nothing with the bot:
// values, the steps of the bot's form, as those of the form BotForm, and menus. What it copies stays where it was, too.
//
// Each thing is copied in one step, with the time to live that it has left, unless the hub has one that is as new. So Run
// may be stopped and repeated at any time, also while bot and hubs are working: it copies what is still missing or has
// changed since. Limits: what the hub deleted after it was copied is copied again; a menu is never copied over another one;
// and of employees, interests, participants and bot sessions the bot does not say when it wrote them, which is judged by
// the usual time to live, to a second: one with a longer time to live is not copied over another.
type Migration struct {
	// Redis is where both are; required. The caller closes it.
	Redis *redis.Client
	// Prefix and DjangoPrefix are those of Config, with the same defaults.
	Prefix, DjangoPrefix string
	// Apply makes Run write. Without it Run reads and decodes everything, and counts what it would copy.
	Apply bool
	// Progress, if not nil, is called now and then with how many keys of the database were looked at, and how many there
	// are, both about.
	Progress func(looked, total int64)
}

// MigrationReport tells what became of the bot's keys. A key may be counted twice if the database grows or shrinks
// meanwhile.
type MigrationReport struct {
	// Applied says that something was written; otherwise Copied counts what would have been.
	Applied bool `json:"applied"`
	// Namespaces are sorted by name.
	Namespaces []MigratedNamespace `json:"namespaces"`
	// Unknown is how many keys begin with the bot's prefix but are none that is known here, such as Django's own.
	Unknown int64 `json:"unknown"`
}

// MigratedNamespace tells what became of one namespace of the bot.
type MigratedNamespace struct {
	// Namespace is its name. The namespaces of all users are one, UserNamespaces, but for their forms, FormSteps. Menus are
	// UserMenus. If there are very many namespaces, the last of them are one, OtherNamespaces.
	Namespace string `json:"namespace"`
	Found     int64  `json:"found"`
	Copied    int64  `json:"copied"`
	// Kept were left alone since the hub has them as new, Expired were gone before they could be copied.
	Kept    int64 `json:"kept"`
	Expired int64 `json:"expired"`
	// Unreadable were left alone since they cannot be decoded, or not be kept by the hub; of them Unsafe would build an
	// object of Python. Problems says which and why, of the first MaxProblems.
	Unreadable int64              `json:"unreadable"`
	Unsafe     int64              `json:"unsafe"`
	Problems   []MigrationProblem `json:"problems,omitempty"`
	// Endless had no time to live, and have now that of DefaultTTL.
	Endless int64 `json:"endless"`
}

// MigrationProblem says why a key was not copied, and nothing of what it holds.
type MigrationProblem struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// Names in a MigrationReport that are no namespaces: these have neither stars nor colons in the bot's keys.
const (
	UserNamespaces  = "user_*"
	FormSteps       = "user_*:form_data_*"
	UserMenus       = "menu:user:*"
	OtherNamespaces = "*"
	// MaxProblems is how many problems of a namespace are told.
	MaxProblems = 20
)

const (
	// migrationPage is about how many keys are looked at in one step, migrationBytes how many bytes are
	// read or written in one, about.
	migrationPage  = 500
	migrationBytes = 1 << 20
	// migrationNamespaces is how many namespaces are told apart.
	migrationNamespaces = 1000
	// guessedSlack is how exact the time is when something was written, if it is judged by its time to live.
	guessedSlack = time.Second
	// menuTTL is how long the bot keeps a menu.
	menuTTL = 30 * time.Minute
)

// The scripts. Each says in its first lines what it does.
//
//nolint:gochecknoglobals // Constants, but for the language.
var (
	//go:embed migrate.lua
	migrateSource string
	//go:embed migrateform.lua
	migrateFormSource string
	//go:embed migratemenu.lua
	migrateMenuSource string

	migrateScript     = redis.NewScript(indexSource + migrateSource)
	migrateFormScript = redis.NewScript(indexSource + migrateFormSource)
	migrateMenuScript = redis.NewScript(migrateMenuSource)
)

// Run copies. It returns what it did also when it fails, as it does when Redis does not answer or ctx ends.
func (m Migration) Run(ctx context.Context) (MigrationReport, error) {
	m.Prefix = cmp.Or(m.Prefix, "hub")
	m.DjangoPrefix = cmp.Or(m.DjangoPrefix, "connectbot:1")
	if m.Redis == nil || strings.HasPrefix(m.Prefix+":", m.DjangoPrefix+":") {
		return MigrationReport{}, errors.New("tempdata: Migration.Redis is required, and Prefix must not begin with DjangoPrefix")
	}
	from, err := newDjango(m.DjangoPrefix)
	if err != nil {
		return MigrationReport{}, err
	}
	to, err := newNative(m.Prefix)
	if err != nil {
		return MigrationReport{}, err
	}
	run := &migrationRun{Migration: m, from: from, to: to, rows: map[string]*MigratedNamespace{}}
	err = run.all(ctx)
	report := MigrationReport{Applied: m.Apply, Unknown: run.unknown}
	for _, row := range run.rows {
		report.Namespaces = append(report.Namespaces, *row)
	}
	slices.SortFunc(report.Namespaces, func(a, b MigratedNamespace) int { return cmp.Compare(a.Namespace, b.Namespace) })
	if err != nil {
		return report, fmt.Errorf("tempdata: migrate: %w", err)
	}
	return report, nil
}

type migrationRun struct {
	Migration
	from    django
	to      *native
	rows    map[string]*MigratedNamespace
	unknown int64
}

// migrant is a key of the bot on its way.
type migrant struct {
	name string
	row  *MigratedNamespace
	// key is that of a value, or of a step if there is one, of a user. Menu is what follows the user in the key of a menu.
	key        Key
	step, menu string
	userID     int64
	usualTTL   time.Duration
	ttl        time.Duration
	size       int64
}

func (r *migrationRun) all(ctx context.Context) error {
	total, err := r.Redis.DBSize(ctx).Result()
	if err != nil {
		return err
	}
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(r.DjangoPrefix) + ":*"
	looked := int64(0)
	for cursor := uint64(0); ; {
		var names []string
		if names, cursor, err = r.Redis.Scan(ctx, cursor, pattern, migrationPage).Result(); err != nil {
			return err
		}
		if err := r.page(ctx, names); err != nil {
			return err
		}
		if looked = min(looked+migrationPage, total); cursor == 0 {
			looked = total
		}
		if r.Progress != nil {
			r.Progress(looked, total)
		}
		if cursor == 0 {
			return nil
		}
	}
}

// page does some keys, a part of them at a time if they are large.
func (r *migrationRun) page(ctx context.Context, names []string) error {
	var found []*migrant
	for _, name := range names {
		if it := r.identify(name); it != nil {
			it.row.Found++
			found = append(found, it)
		} else {
			r.unknown++
		}
	}
	found, err := r.measure(ctx, found)
	if err != nil {
		return err
	}
	for len(found) > 0 {
		n, size := 0, int64(0)
		for n < len(found) && (n == 0 || size+found[n].size <= migrationBytes) {
			size += found[n].size
			n++
		}
		if err := r.copy(ctx, found[:n]); err != nil {
			return err
		}
		found = found[n:]
	}
	return nil
}

// identify returns what a key is, nil if it is not known.
func (r *migrationRun) identify(name string) *migrant {
	if rest, found := strings.CutPrefix(name, r.DjangoPrefix+":menu:user:"); found {
		user, menu, _ := strings.Cut(rest, ":")
		id := userID(user)
		if id == 0 || !isName(menu) {
			return nil
		}
		return &migrant{name: name, row: r.row(UserMenus), menu: menu, userID: id, usualTTL: menuTTL}
	}
	key, ok := r.from.parse(name)
	if !ok {
		return nil
	}
	it := &migrant{name: name, key: key, usualTTL: DefaultTTL(key)}
	label := key.Namespace
	if isUserNamespace(key.Namespace) {
		if it.userID = userID(strings.TrimPrefix(key.Namespace, userPrefix)); it.userID == 0 {
			return nil // The Store has no such user.
		}
		label = UserNamespaces
		if step, found := strings.CutPrefix(key.Name, stepPrefix); found {
			it.step, it.usualTTL, label = step, formTTL, FormSteps
		}
	}
	it.row = r.row(label)
	return it
}

// userID reads a number as UserNamespace writes it, 0 for anything else.
func userID(text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 || strconv.FormatInt(id, 10) != text {
		return 0
	}
	return id
}

func (r *migrationRun) row(namespace string) *MigratedNamespace {
	row := r.rows[namespace]
	if row == nil && len(r.rows) >= migrationNamespaces && namespace != OtherNamespaces {
		return r.row(OtherNamespaces)
	}
	if row == nil {
		row = &MigratedNamespace{Namespace: namespace}
		r.rows[namespace] = row
	}
	return row
}

// measure finds out how long values are kept and how large they are, and returns those that can be copied.
func (r *migrationRun) measure(ctx context.Context, found []*migrant) ([]*migrant, error) {
	pipe := r.Redis.Pipeline()
	ttls, sizes := make([]*redis.DurationCmd, len(found)), make([]*redis.IntCmd, len(found))
	for i, it := range found {
		ttls[i], sizes[i] = pipe.PTTL(ctx, it.name), pipe.StrLen(ctx, it.name)
	}
	if err := exec(ctx, pipe); err != nil {
		return nil, err
	}
	var live []*migrant
	for i, it := range found {
		const none, endless = -2, -1 // As they are, not in milliseconds.
		it.ttl, it.size = min(ttls[i].Val(), MaxTTL), sizes[i].Val()
		switch {
		case it.ttl == none:
			it.row.Expired++
			continue
		case sizes[i].Err() != nil:
			it.problem(errors.New("it holds no string"))
			continue
		case it.size > djangocache.MaxSize:
			it.problem(fmt.Errorf("it has more than %d bytes", djangocache.MaxSize))
			continue
		case it.ttl == endless:
			it.row.Endless++
		}
		live = append(live, it)
	}
	return live, nil
}

// exec sends commands, and returns an error unless each was answered. That a key holds something of another type is an
// answer.
func exec(ctx context.Context, pipe redis.Pipeliner) error {
	commands, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	for _, command := range commands {
		err := command.Err()
		if err != nil && !errors.Is(err, redis.Nil) && !strings.Contains(err.Error(), "WRONGTYPE") {
			return err
		}
	}
	return ctx.Err()
}

// problem notes why something is not copied.
func (it *migrant) problem(err error) {
	it.row.Unreadable++
	if errors.Is(err, djangocache.ErrUnsafe) {
		it.row.Unsafe++
	}
	if len(it.row.Problems) < MaxProblems {
		it.row.Problems = append(it.row.Problems, MigrationProblem{it.name, err.Error()})
	}
}

// copy copies some values.
func (r *migrationRun) copy(ctx context.Context, found []*migrant) error {
	pipe := r.Redis.Pipeline()
	raws := make([]*redis.StringCmd, len(found))
	for i, it := range found {
		raws[i] = pipe.Get(ctx, it.name)
	}
	if err := exec(ctx, pipe); err != nil {
		return err
	}
	batch := r.newBatch(ctx)
	for i, it := range found {
		raw, err := raws[i].Result()
		if errors.Is(err, redis.Nil) {
			it.row.Expired++
			continue
		}
		if err == nil {
			err = r.send(ctx, batch, it, raw)
		}
		if err != nil {
			it.problem(err)
		}
		if batch.size >= migrationBytes { // What was deflated may be much more.
			if err := batch.finish(ctx); err != nil {
				return err
			}
			batch = r.newBatch(ctx)
		}
	}
	return batch.finish(ctx)
}

// migrationBatch is what is written in one round trip.
type migrationBatch struct {
	pipe    redis.Pipeliner
	items   []*migrant
	replies []*redis.Cmd
	size    int
}

func (r *migrationRun) newBatch(ctx context.Context) *migrationBatch {
	b := &migrationBatch{pipe: r.Redis.Pipeline()}
	for _, source := range []string{indexSource + migrateSource, indexSource + migrateFormSource, migrateMenuSource} {
		b.pipe.ScriptLoad(ctx, source) // Each time, as Redis may have been restarted. Script.Load is not for pipelines.
	}
	return b
}

// add queues a script for something, of which about size bytes are sent.
func (b *migrationBatch) add(ctx context.Context, it *migrant, size int, script *redis.Script, keys []string, args ...any) {
	b.items, b.replies = append(b.items, it), append(b.replies, script.EvalSha(ctx, b.pipe, keys, args...))
	b.size += size
}

// finish sends what was queued, and counts what became of it.
func (b *migrationBatch) finish(ctx context.Context) error {
	if len(b.items) == 0 {
		return nil
	}
	if err := exec(ctx, b.pipe); err != nil {
		return err
	}
	for i, it := range b.items {
		switch done, err := b.replies[i].Int(); {
		case err != nil:
			it.problem(errors.New("the hub's key for it holds something else"))
		case done > 0:
			it.row.Copied++
		case done < 0:
			it.problem(fmt.Errorf("%w: the steps of the form, together", ErrTooLarge))
		default:
			it.row.Kept++
		}
	}
	return nil
}

// send queues the script that copies something.
func (r *migrationRun) send(ctx context.Context, batch *migrationBatch, it *migrant, raw string) error {
	do := "0"
	if r.Apply {
		do = "1"
	}
	user := strconv.FormatInt(it.userID, 10)
	if it.menu != "" {
		text, err := menuText(raw)
		if err != nil {
			return err
		}
		keys := []string{r.Prefix + ":menu:user:" + user + ":" + it.menu, r.Prefix + ":menu:users"}
		ttl, _, _ := it.times(time.Time{})
		batch.add(ctx, it, len(text), migrateMenuScript, keys, do, text, ttl.Milliseconds(), user)
		return nil
	}
	c, err := r.from.decode(it.key, raw)
	if err != nil {
		return err
	}
	ttl, at, slack := it.times(c.at)
	if it.step != "" {
		space := formSpace(it.userID)
		keys := []string{r.indexKey(space), r.listsKey(space), r.Prefix + ":form:" + user + "/" + BotForm, r.Prefix + ":submitted:" + user + "/" + BotForm}
		batch.add(ctx, it, len(c.data), migrateFormScript, keys, do, slack.Microseconds(), space, it.step,
			stamp(at)+" "+string(c.data), ttl.Milliseconds(), BotForm, newTag(), MaxSteps, MaxValueSize)
		return nil
	}
	value, err := r.to.encode(it.key, c.data, at)
	if err != nil {
		return err
	}
	keys := []string{r.indexKey(it.key.Namespace), r.listsKey(it.key.Namespace), r.to.redisKey(it.key)}
	batch.add(ctx, it, len(value), migrateScript, keys, do, slack.Microseconds(), it.key.Namespace, value,
		ttl.Milliseconds(), it.key.Name)
	return nil
}

func (r *migrationRun) indexKey(space string) string { return r.Prefix + ":index:" + space }

func (r *migrationRun) listsKey(space string) string { return r.Prefix + ":indexes:" + kindOf(space) }

// times returns how long something is kept, when it was written, and by how much what there is must be older to be written
// over. What says nothing of it, or a time to come, is judged by the time to live; if that says nothing either, it is written
// over nothing.
func (it *migrant) times(said time.Time) (ttl time.Duration, at time.Time, slack time.Duration) {
	now := time.Now()
	ttl = it.ttl
	if ttl <= 0 {
		ttl = it.usualTTL
	}
	switch {
	case !said.IsZero() && !said.After(now):
		return ttl, said, 0
	case it.ttl > 0 && it.ttl <= it.usualTTL:
		return ttl, now.Add(it.ttl - it.usualTTL), guessedSlack
	}
	const always = 100 * 365 * 24 * time.Hour
	return ttl, now, always
}

// menuText returns the JSON about a menu.
func menuText(raw string) ([]byte, error) {
	text, err := djangocache.DecodeString([]byte(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	var menu struct {
		Data jsontext.Value `json:"data"`
	}
	err = json.Unmarshal(text, &menu, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil || menu.Data.Kind() != '{' || len(text) > MaxValueSize {
		return nil, fmt.Errorf("%w: not the JSON that a menu is", ErrUnreadable)
	}
	return text, nil
}
