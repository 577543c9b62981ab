package tempdata_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// botRedis is a Redis with what the bot keeps, and a hub beside it.
type botRedis struct {
	rdb         *redis.Client
	prefix, bot string
	migration   tempdata.Migration
	store       *tempdata.Store
}

func newBotRedis(tb testing.TB) *botRedis {
	tb.Helper()
	b := &botRedis{rdb: redistest.Shared(tb).Client(), prefix: redistest.Prefix(tb), bot: redistest.Prefix(tb) + ":1"}
	b.migration = tempdata.Migration{Redis: b.rdb, Prefix: b.prefix, DjangoPrefix: b.bot, Apply: true}
	var err error
	if b.store, err = tempdata.New(tempdata.Config{Redis: b.rdb, Prefix: b.prefix}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.store.Close)
	if err := b.store.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return b
}

// botVector is a value as the bot stored it.
type botVector struct {
	Key      string          `json:"key"`
	TTL      int             `json:"ttl_s"`
	ValueHex string          `json:"value_hex"`
	Decoded  json.RawMessage `json:"decoded"`
}

// setVectors stores what was recorded from the bot, and returns it by key, without the prefix.
func (b *botRedis) setVectors(tb testing.TB) map[string]botVector {
	tb.Helper()
	text, err := os.ReadFile("testdata/django-cache.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []botVector
	if err := json.Unmarshal(text, &all); err != nil {
		tb.Fatal(err)
	}
	byKey := map[string]botVector{}
	for _, v := range all {
		raw, err := hex.DecodeString(v.ValueHex)
		if err != nil {
			tb.Fatal(err)
		}
		key := strings.TrimPrefix(v.Key, "connectbot:1:")
		b.set(tb, key, string(raw), time.Duration(v.TTL)*time.Second)
		byKey[key] = v
	}
	return byKey
}

func (b *botRedis) set(tb testing.TB, key, raw string, ttl time.Duration) {
	tb.Helper()
	if err := b.rdb.Set(tb.Context(), b.bot+":"+key, raw, ttl).Err(); err != nil {
		tb.Fatal(err)
	}
}

// setText stores temporary data as the bot does.
func (b *botRedis) setText(tb testing.TB, key, data string, at time.Time, ttl time.Duration) {
	tb.Helper()
	raw, err := djangocache.EncodeString(fmt.Sprintf(`{"data": %s, "type": "dict", "created_at": %q, "namespace": "x", "serialized": true}`,
		data, at.Local().Format("2006-01-02T15:04:05.000000")))
	if err != nil {
		tb.Fatal(err)
	}
	b.set(tb, key, string(raw), ttl)
}

// keys returns those of the hub, but for what it writes to see whether Redis answers.
func (b *botRedis) keys(tb testing.TB) []string {
	tb.Helper()
	keys, err := b.rdb.Keys(tb.Context(), b.prefix+":*").Result()
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(keys, func(key string) bool { return key == b.prefix+":temp:probe" })
}

// run migrates, and returns what became of the namespaces and their sum.
func (b *botRedis) run(tb testing.TB) (map[string]tempdata.MigratedNamespace, tempdata.MigratedNamespace) {
	tb.Helper()
	report, err := b.migration.Run(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return byNamespace(tb, report)
}

func byNamespace(tb testing.TB, report tempdata.MigrationReport) (map[string]tempdata.MigratedNamespace, tempdata.MigratedNamespace) {
	tb.Helper()
	rows, sum := map[string]tempdata.MigratedNamespace{}, tempdata.MigratedNamespace{}
	for _, n := range report.Namespaces {
		rows[n.Namespace] = n
		sum.Found += n.Found
		sum.Copied += n.Copied
		sum.Kept += n.Kept
		sum.Expired += n.Expired
		sum.Unreadable += n.Unreadable
		sum.Unsafe += n.Unsafe
		sum.Endless += n.Endless
		if n.Found != n.Copied+n.Kept+n.Expired+n.Unreadable {
			tb.Errorf("%+v does not add up", n)
		}
	}
	return rows, sum
}

func (b *botRedis) get(tb testing.TB, namespace, name string) tempdata.Value {
	tb.Helper()
	v, err := b.store.Get(tb.Context(), tempdata.Key{Namespace: namespace, Name: name})
	if err != nil {
		tb.Fatalf("%s/%s: %v", namespace, name, err)
	}
	return v
}

func (b *botRedis) form(tb testing.TB, userID int64) (form tempdata.Form, steps string) {
	tb.Helper()
	form, err := b.store.Form(tb.Context(), tempdata.FormKey{UserID: userID, Form: tempdata.BotForm})
	if err != nil {
		tb.Fatal(err)
	}
	for _, step := range form.Steps {
		steps += step.Name + "=" + string(step.Data) + " "
	}
	return form, steps
}

func about(got, want time.Duration) bool { return got <= want && got > want-20*time.Second }

// TestMigrateVectors takes all that was recorded from the bot to the hub.
func TestMigrateVectors(t *testing.T) {
	t.Parallel()
	b := newBotRedis(t)
	vectors := b.setVectors(t)
	want := map[string]int64{
		"bot_sessions": 0, "employees": 1, "interests": 1, "test_namespace": 1,
		tempdata.UserNamespaces: 4, tempdata.FormSteps: 1, tempdata.UserMenus: 3,
	}
	for pass, test := range []struct {
		apply        bool
		copied, kept int64
	}{{false, 11, 0}, {true, 11, 0}, {true, 0, 11}, {false, 0, 11}} {
		b.migration.Apply = test.apply
		report, err := b.migration.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows, sum := byNamespace(t, report)
		if sum.Copied != test.copied || sum.Kept != test.kept || sum.Found != 11 || report.Unknown != 5 || report.Applied != test.apply {
			t.Errorf("pass %d: %+v", pass, report)
		}
		for namespace, n := range want {
			if rows[namespace].Found != n {
				t.Errorf("pass %d: %+v, want %d of %s", pass, rows, n, namespace)
			}
		}
		if left := b.keys(t); pass == 0 && len(left) > 0 {
			t.Errorf("a dry run wrote %q", left)
		}
	}
	for key, want := range map[tempdata.Key]struct {
		data, typ string
		ttl       time.Duration
	}{
		{Namespace: "employees", Name: "9"}:                     {`{"id":9,"name":"Анна"}`, "dict", time.Hour},
		{Namespace: "interests", Name: "9"}:                     {`["coffee","chess"]`, "list", 30 * time.Minute},
		{Namespace: "test_namespace", Name: "test_key"}:         {`{"test_key":"test_value","number":42}`, "dict", 5 * time.Minute},
		{Namespace: "user_123", Name: tempdata.ConversationKey}: {`{"current_menu":"main","context":{"editing":true}}`, "dict", 2 * time.Hour},
		{Namespace: "user_123", Name: "list"}:                   {`[1,2,3]`, "list", 30 * time.Minute},
		{Namespace: "user_123", Name: "scalar_int"}:             {`42`, "int", 30 * time.Minute},
		{Namespace: "user_123", Name: "scalar_str"}:             {`"hello"`, "str", 30 * time.Minute},
	} {
		got := b.get(t, key.Namespace, key.Name)
		if string(got.Data) != want.data || got.Type != want.typ || !about(got.ExpiresIn, want.ttl) {
			t.Errorf("%v is %s %s for %v, want %s %s for %v", key, got.Type, got.Data, got.ExpiresIn, want.typ, want.data, want.ttl)
		}
		if strings.HasPrefix(key.Namespace, "user_") {
			if at := got.CreatedAt.Local().Format("2006-01-02T15:04:05"); at != "2026-11-21T19:11:26" {
				t.Errorf("%v is of %s", key, at)
			}
		}
		page, err := b.store.List(t.Context(), key.Namespace, "", 10)
		if err != nil || !slices.ContainsFunc(page.Items, func(l tempdata.Listed) bool { return l.Name == key.Name && about(l.ExpiresIn, want.ttl) }) {
			t.Errorf("%v is not in its list: %v, %v", key, page, err)
		}
	}
	form, steps := b.form(t, 123)
	if steps != `step1={"step":1,"preferences":["coffee","lunch"],"notification_time":"10:00"} ` || !about(form.ExpiresIn, time.Hour) {
		t.Errorf("the form is %s for %v", steps, form.ExpiresIn)
	}
	if page, err := b.store.Forms(t.Context(), 123, "", 10); err != nil || len(page.Items) != 1 || page.Items[0].Name != tempdata.BotForm {
		t.Errorf("the user's forms: %v, %v", page, err)
	}
	for _, user := range []string{"123", "124", "125"} {
		key := "menu:user:" + user + ":main"
		var text string
		if err := json.Unmarshal(vectors[key].Decoded, &text); err != nil {
			t.Fatal(err)
		}
		menu, err := b.rdb.Get(t.Context(), b.prefix+":"+key).Result()
		if ttl := b.rdb.PTTL(t.Context(), b.prefix+":"+key).Val(); menu != text || err != nil || !about(ttl, 30*time.Minute) {
			t.Errorf("%s is %s for %v, %v", key, menu, ttl, err)
		}
		if expires := b.rdb.ZScore(t.Context(), b.prefix+":menu:users", user).Val(); !about(time.Until(time.UnixMilli(int64(expires))), 30*time.Minute+time.Second) {
			t.Errorf("%s is listed until %v", user, expires)
		}
	}
	if ttl := b.rdb.PTTL(t.Context(), b.prefix+":index:user_123").Val(); ttl < 31*24*time.Hour {
		t.Errorf("a list is kept for %v", ttl)
	}
}

// TestMigrateTheNewer repeats the migration while bot and hub go on working.
func TestMigrateTheNewer(t *testing.T) {
	t.Parallel()
	b := newBotRedis(t)
	old := time.Now().Add(-time.Minute)
	for _, name := range []string{"both", "bot", "hub", "none"} {
		b.setText(t, "temp:sessions:"+name, `{"by":"the bot"}`, old, time.Hour)
	}
	b.set(t, "emp:1", pickle(t, "first"), 50*time.Minute)
	b.set(t, "emp:2", pickle(t, "first"), 50*time.Minute)
	b.set(t, "emp:3", pickle(t, "first"), 90*time.Minute)
	if _, sum := b.run(t); sum.Copied != 7 {
		t.Fatalf("%+v", sum)
	}
	if at := b.get(t, "employees", "1").CreatedAt; !about(time.Since(at), 10*time.Minute+10*time.Second) {
		t.Errorf("what is kept for 50 minutes more is of %v", at)
	}
	put := func(name string) {
		t.Helper()
		if _, err := b.store.Put(t.Context(), tempdata.Put{
			Key: tempdata.Key{Namespace: "sessions", Name: name}, Data: []byte(`{"by":"the hub"}`), TTL: 2 * time.Hour,
		}); err != nil {
			t.Fatal(err)
		}
	}
	b.setText(t, "temp:sessions:both", `{"by":"the bot, later"}`, time.Now(), time.Hour)
	put("both") // A moment later.
	put("hub")
	b.setText(t, "temp:sessions:bot", `{"by":"the bot, later"}`, old.Add(time.Second), 30*time.Minute)
	b.set(t, "emp:1", pickle(t, "second"), 55*time.Minute)
	b.set(t, "emp:3", pickle(t, "second"), 95*time.Minute)
	rows, _ := b.run(t)
	if rows["sessions"].Copied != 1 || rows["employees"].Copied != 1 {
		t.Errorf("%+v", rows)
	}
	for name, want := range map[string]string{
		"both": `{"by":"the hub"}`, "hub": `{"by":"the hub"}`, "bot": `{"by":"the bot, later"}`, "none": `{"by":"the bot"}`,
	} {
		if got := b.get(t, "sessions", name); string(got.Data) != want {
			t.Errorf("%s is %s, want %s", name, got.Data, want)
		}
	}
	if got := b.get(t, "sessions", "bot"); !about(got.ExpiresIn, 30*time.Minute) {
		t.Errorf("it is kept for %v", got.ExpiresIn)
	}
	for name, want := range map[string]string{"1": `"second"`, "2": `"first"`, "3": `"first"`} {
		if got := b.get(t, "employees", name); string(got.Data) != want {
			t.Errorf("employee %s is %s, want %s", name, got.Data, want)
		}
	}
	// A time to come, of a bot elsewhere, does not keep the hub's values from being the newer ones.
	b.setText(t, "temp:sessions:ahead", `{"by":"the bot"}`, time.Now().Add(3*time.Hour), 23*time.Hour)
	b.run(t)
	put("ahead")
	if rows, _ := b.run(t); rows["sessions"].Copied != 0 {
		t.Errorf("%+v", rows)
	}
}

func pickle(tb testing.TB, v any) string {
	tb.Helper()
	raw, err := djangocache.Encode(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// TestMigrateForms copies steps, which come in any order, and leaves alone what the hub has changed.
func TestMigrateForms(t *testing.T) {
	t.Parallel()
	b := newBotRedis(t)
	ctx := t.Context()
	begin := time.Now().Add(-time.Hour)
	step := func(user int64, name, data string, minute int) {
		t.Helper()
		b.setText(t, fmt.Sprintf("temp:user_%d:form_data_%s", user, name), data, begin.Add(time.Duration(minute)*time.Minute), time.Duration(minute+1)*time.Minute)
	}
	for i, name := range []string{"zero", "name", "city", "a", "b", "c", "d", "e"} {
		for user := int64(1); user <= 5; user++ {
			step(user, name, fmt.Sprintf(`{"n":%d}`, i), i)
		}
	}
	if rows, _ := b.run(t); rows[tempdata.FormSteps].Copied != 40 {
		t.Fatalf("%+v", rows)
	}
	all := `zero={"n":0} name={"n":1} city={"n":2} a={"n":3} b={"n":4} c={"n":5} d={"n":6} e={"n":7} `
	tags := map[string]bool{}
	for user := int64(1); user <= 5; user++ {
		form, steps := b.form(t, user)
		if steps != all || !about(form.ExpiresIn, 8*time.Minute) || form.UpdatedAt.UnixMicro() != begin.Add(7*time.Minute).UnixMicro() {
			t.Errorf("%s of %v for %v", steps, form.UpdatedAt, form.ExpiresIn)
		}
		tags[form.ETag] = true
	}
	if len(tags) != 5 {
		t.Errorf("tags: %v", tags)
	}
	// The bot goes on with the form of 1; the hub with those of 2, 3 and 4.
	step(1, "name", `{"n":"new"}`, 8)
	step(1, "f", `{"n":8}`, 9)
	key := func(user int64) tempdata.FormKey { return tempdata.FormKey{UserID: user, Form: tempdata.BotForm} }
	if _, err := b.store.DeleteStep(ctx, key(2), "city", tempdata.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.PutStep(ctx, tempdata.PutStep{FormKey: key(3), Step: tempdata.Step{Name: "name", Data: []byte(`"hub"`)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Submit(ctx, tempdata.Submit{FormKey: key(4)}); err != nil {
		t.Fatal(err)
	}
	if rows, _ := b.run(t); rows[tempdata.FormSteps].Copied != 2 || rows[tempdata.FormSteps].Kept != 39 {
		t.Errorf("%+v", rows)
	}
	for user, want := range map[int64]string{
		1: `zero={"n":0} city={"n":2} a={"n":3} b={"n":4} c={"n":5} d={"n":6} e={"n":7} name={"n":"new"} f={"n":8} `,
		2: strings.Replace(all, `city={"n":2} `, "", 1),
		3: strings.Replace(all, `name={"n":1}`, `name="hub"`, 1),
		5: all,
	} {
		if _, steps := b.form(t, user); steps != want {
			t.Errorf("user %d: %s, want %s", user, steps, want)
		}
	}
	if _, err := b.store.Form(ctx, key(4)); !errors.Is(err, tempdata.ErrNotFound) {
		t.Errorf("a form that was submitted is back: %v", err)
	}
	// What the bot changes after the hub is taken over, too; and the form counts right.
	b.setText(t, "temp:user_3:form_data_late", `{"x":"`+strings.Repeat("y", tempdata.MaxValueSize/2)+`"}`, time.Now(), time.Hour)
	if rows, _ := b.run(t); rows[tempdata.FormSteps].Copied != 1 {
		t.Errorf("%+v", rows)
	}
	b.setText(t, "temp:user_3:form_data_later", `{"x":"`+strings.Repeat("y", tempdata.MaxValueSize/2)+`"}`, time.Now(), time.Hour)
	if rows, _ := b.run(t); rows[tempdata.FormSteps].Unreadable != 1 || !strings.Contains(rows[tempdata.FormSteps].Problems[0].Reason, "too large") {
		t.Errorf("%+v", rows)
	}
	for i := range tempdata.MaxSteps + 1 {
		step(6, fmt.Sprint("s", i), `{}`, 20)
	}
	if rows, _ := b.run(t); rows[tempdata.FormSteps].Copied != tempdata.MaxSteps || rows[tempdata.FormSteps].Unreadable != 2 {
		t.Errorf("%+v", rows)
	}
	if _, err := b.store.PutStep(ctx, tempdata.PutStep{FormKey: key(3), Step: tempdata.Step{
		Name: "more", Data: []byte(`"` + strings.Repeat("y", tempdata.MaxValueSize/2) + `"`),
	}}); !errors.Is(err, tempdata.ErrTooLarge) {
		t.Errorf("the hub does not count what was copied: %v", err)
	}
}

// TestMigrateWhatCannotBeRead says what it was, and nothing of what it holds.
func TestMigrateWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := newBotRedis(t)
	ctx := t.Context()
	secret := "hunter2"
	for i := range 30 {
		b.set(t, fmt.Sprintf("temp:sessions:broken%d", i), secret, time.Hour)
	}
	b.set(t, "emp:1", "\x80\x04c"+secret+"\nsystem\n.", time.Hour)
	b.set(t, "emp:2", pickle(t, []byte(secret)), time.Hour)
	b.set(t, "emp:3", strings.Repeat(secret, djangocache.MaxSize/len(secret)+1), time.Hour)
	b.set(t, "emp:4", pickle(t, secret), 0)
	b.set(t, "emp:5", pickle(t, secret), 100*24*time.Hour)
	b.set(t, "menu:user:1:main", pickle(t, secret), time.Hour)
	b.set(t, "menu:user:2:main", pickle(t, `{"data":{"options":[]}}`), 0)
	b.set(t, "menu:user:2:help", pickle(t, `{"data":{"options":[]}}`), time.Hour)
	for i, key := range []string{
		"menu:user:x:main", "menu:user:03:main", "menu:user:3", "menu:user:3:", "temp:user_0:a", "temp:user_007:a", "temp:ключ:a",
		"temp:user_99999999999999999999:a", "django.contrib.sessions.cache" + secret, "act:5", ":",
	} {
		b.set(t, key, pickle(t, i), time.Hour)
	}
	if err := errors.Join(
		b.rdb.LPush(ctx, b.bot+":emp:6", secret).Err(), b.rdb.LPush(ctx, b.prefix+":temp:employees/7", secret).Err(),
		b.rdb.Set(ctx, b.prefix+":menu:user:2:help", "the hub's", time.Hour).Err(), b.rdb.Set(ctx, b.prefix+":temp:employees/8", secret, time.Hour).Err(),
	); err != nil {
		t.Fatal(err)
	}
	b.set(t, "emp:7", pickle(t, secret), time.Hour)
	b.set(t, "emp:8", pickle(t, secret), time.Hour)
	report, err := b.migration.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := byNamespace(t, report)
	employees, menus := rows["employees"], rows[tempdata.UserMenus]
	if rows["sessions"].Unreadable != 30 || len(rows["sessions"].Problems) != tempdata.MaxProblems || report.Unknown != 11 {
		t.Errorf("%+v", report)
	}
	if employees.Unreadable != 5 || employees.Unsafe != 1 || employees.Endless != 1 || employees.Copied != 2 || employees.Kept != 1 {
		t.Errorf("%+v", employees)
	}
	if menus.Unreadable != 1 || menus.Endless != 1 || menus.Copied != 1 || menus.Kept != 1 {
		t.Errorf("%+v", menus)
	}
	reasons := map[string]string{}
	for _, p := range slices.Concat(employees.Problems, menus.Problems) {
		reasons[strings.TrimPrefix(p.Key, b.bot+":")] = p.Reason
	}
	for key, want := range map[string]string{
		"emp:1": "unsafe pickle", "emp:2": "bytes in JSON", "emp:3": "more than 1048576 bytes", "emp:6": "it holds no string",
		"emp:7": "the hub's key for it holds something else", "menu:user:1:main": "not the JSON that a menu is",
	} {
		if !strings.Contains(reasons[key], want) {
			t.Errorf("%s: %q, want %q", key, reasons[key], want)
		}
	}
	if text, err := json.Marshal(report); err != nil || bytes.Contains(text, []byte(secret)) {
		t.Errorf("the report tells what values hold: %s, %v", text, err)
	}
	if got := b.get(t, "employees", "4"); !about(got.ExpiresIn, time.Hour) {
		t.Errorf("without a time to live: %v", got.ExpiresIn)
	}
	if got := b.get(t, "employees", "5"); !about(got.ExpiresIn, tempdata.MaxTTL) {
		t.Errorf("for 100 days: %v", got.ExpiresIn)
	}
	if ttl := b.rdb.PTTL(ctx, b.prefix+":menu:user:2:main").Val(); !about(ttl, 30*time.Minute) {
		t.Errorf("a menu without a time to live: %v", ttl)
	}
	for i := range 1100 {
		b.set(t, fmt.Sprintf("temp:n%d:a", i), pickle(t, i), time.Hour)
	}
	if rows, _ := b.run(t); len(rows) != 1001 || rows[tempdata.OtherNamespaces].Copied != 1100-997 {
		t.Errorf("%d namespaces, %+v", len(rows), rows[tempdata.OtherNamespaces])
	}
}

// TestMigrateLargeValues needs more than one step for a page, and takes large and small.
func TestMigrateLargeValues(t *testing.T) {
	t.Parallel()
	b := newBotRedis(t)
	large := `"` + strings.Repeat("x", tempdata.MaxValueSize-2) + `"`
	raw, err := djangocache.AppendString(nil, `{"data":[`+large[:len(large)-3]+`"],"serialized":true}`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		b.set(t, fmt.Sprintf("temp:sessions:%d", i), string(raw), time.Hour)
		b.set(t, fmt.Sprintf("temp:sessions:small%d", i), pickle(t, i), time.Hour)
	}
	if _, sum := b.run(t); sum.Copied != 100 {
		t.Errorf("%+v", sum)
	}
	if got := b.get(t, "sessions", "49"); len(got.Data) != tempdata.MaxValueSize {
		t.Errorf("%d bytes", len(got.Data))
	}
}

// TestMigrateGoesOn stops a migration in the middle, and starts it again.
func TestMigrateGoesOn(t *testing.T) {
	t.Parallel()
	b := newBotRedis(t)
	const keys = 2000
	pipe := b.rdb.Pipeline()
	for i := range keys {
		pipe.Set(t.Context(), fmt.Sprintf("%s:temp:sessions:%d", b.bot, i), pickle(t, i), time.Hour)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	calls, last := 0, int64(0)
	b.migration.Progress = func(looked, total int64) {
		if calls++; looked < last || looked > total {
			t.Errorf("%d of %d after %d", looked, total, last)
		}
		if last = looked; calls == 2 {
			stop()
		}
	}
	report, err := b.migration.Run(ctx)
	_, first := byNamespace(t, report)
	if !errors.Is(err, context.Canceled) || first.Copied == 0 || first.Copied == keys {
		t.Fatalf("%v, %+v", err, first)
	}
	last = 0
	rows, sum := b.run(t)
	if sum.Copied+first.Copied != keys || sum.Kept != first.Copied || rows["sessions"].Found != keys {
		t.Errorf("%+v after %+v", sum, first)
	}
}

func TestMigrateWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	migration := tempdata.Migration{Redis: server.Client()}
	if report, err := migration.Run(t.Context()); err != nil || len(report.Namespaces) > 0 {
		t.Errorf("an empty Redis: %+v, %v", report, err)
	}
	server.Kill()
	if _, err := migration.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "tempdata: migrate: ") {
		t.Errorf("no Redis: %v", err)
	}
	for _, wrong := range []tempdata.Migration{
		{},
		{Redis: migration.Redis, DjangoPrefix: "hub"},
		{Redis: migration.Redis, DjangoPrefix: "hub:1:"},
		{Redis: migration.Redis, Prefix: "bot:1:hub", DjangoPrefix: "bot:1"},
	} {
		if _, err := wrong.Run(t.Context()); err == nil || strings.Contains(err.Error(), "migrate") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
