package tempdata_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/tempdata"
)

func TestHistoryKeepsTheLast(t *testing.T) {
	t.Parallel()
	s := shared(t)
	const conversation = "chat:42"
	empty, err := s.Messages(t.Context(), tempdata.History{Conversation: conversation, Limit: 10})
	if err != nil || len(empty.Messages) != 0 {
		t.Errorf("at first there is %+v, %v", empty, err)
	}
	for i := range 250 {
		a, err := s.Append(t.Context(), tempdata.Append{Conversation: conversation, Messages: [][]byte{fmt.Appendf(nil, `{ "n": %d }`, i)}})
		if err != nil || a.Length != min(i+1, tempdata.DefaultMaxLen) || a.ExpiresIn != 7*24*time.Hour {
			t.Fatalf("append %d gave %+v, %v", i, a, err)
		}
	}
	h, err := s.Messages(t.Context(), tempdata.History{Conversation: conversation, Limit: tempdata.MaxMessages})
	if err != nil || len(h.Messages) != 200 || h.ExpiresIn <= 7*24*time.Hour-soon {
		t.Fatalf("%d messages, %v, %v", len(h.Messages), h.ExpiresIn, err)
	}
	ids := map[string]bool{}
	for i, m := range h.Messages {
		if want := fmt.Sprintf(`{"n":%d}`, 50+i); string(m.Data) != want || time.Since(m.At) > soon {
			t.Errorf("message %d is %s of %v, want %s", i, m.Data, m.At, want)
		}
		ids[m.ID] = true
	}
	if len(ids) != 200 {
		t.Errorf("%d ids of 200 messages", len(ids))
	}
	newest, err := s.Messages(t.Context(), tempdata.History{Conversation: conversation, Limit: 2, NewestFirst: true})
	if err != nil || len(newest.Messages) != 2 || string(newest.Messages[0].Data) != `{"n":249}` || string(newest.Messages[1].Data) != `{"n":248}` {
		t.Errorf("the newest are %+v, %v", newest, err)
	}
	if a, err := s.Append(t.Context(), tempdata.Append{
		Conversation: conversation, Messages: [][]byte{[]byte("1"), []byte("2"), []byte("3")}, MaxLen: 2, TTL: time.Minute,
	}); err != nil || a.Length != 2 || a.ExpiresIn != time.Minute {
		t.Errorf("appending three of which two are kept gave %+v, %v", a, err)
	}
	if _, err := s.DeleteHistory(t.Context(), conversation); err != nil {
		t.Error(err)
	}
	_, err = s.DeleteHistory(t.Context(), conversation)
	wantError(t, err, tempdata.ErrNotFound)
}

func TestManyAppend(t *testing.T) {
	t.Parallel()
	s := shared(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for n := range 10 {
				if _, err := s.Append(t.Context(), tempdata.Append{Conversation: "c", Messages: [][]byte{fmt.Append(nil, 100*i+n)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	h, err := s.Messages(t.Context(), tempdata.History{Conversation: "c", Limit: 1000})
	if err != nil || len(h.Messages) != 200 {
		t.Fatal(len(h.Messages), err)
	}
	last := map[int]int{} // Each one's messages are in order, and all are there.
	for _, m := range h.Messages {
		var n int
		_, _ = fmt.Sscan(string(m.Data), &n)
		if last[n/100] != n%100 {
			t.Errorf("%d comes after %d of the same", n, last[n/100]-1)
		}
		last[n/100]++
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	s := shared(t)
	first, err := s.Lease(t.Context(), 123, 0, 0)
	if err != nil || first.ExpiresIn != tempdata.DefaultLease {
		t.Fatal(first, err)
	}
	_, err = s.Lease(t.Context(), 123, 0, 0)
	wantError(t, err, tempdata.ErrLeaseHeld)
	if _, err := s.Lease(t.Context(), 124, 0, 0); err != nil {
		t.Errorf("another user's: %v", err)
	}
	if l, err := s.RenewLease(t.Context(), 123, first.Token, time.Minute); err != nil || l.ExpiresIn != time.Minute {
		t.Errorf("renewing gave %+v, %v", l, err)
	}
	waiting := make(chan tempdata.Lease)
	go func() {
		l, err := s.Lease(t.Context(), 123, time.Second, tempdata.MaxLeaseWait)
		if err != nil {
			t.Errorf("waiting: %v", err)
		}
		waiting <- l
	}()
	if err := s.ReleaseLease(t.Context(), 123, first.Token); err != nil {
		t.Error(err)
	}
	second := <-waiting
	wantError(t, s.ReleaseLease(t.Context(), 123, first.Token), tempdata.ErrNotFound)
	// It expires by itself.
	third, err := s.Lease(t.Context(), 123, time.Second, tempdata.MaxLeaseWait)
	if err != nil || third.Token == second.Token {
		t.Errorf("after a second: %+v, %v", third, err)
	}
	_, err = s.RenewLease(t.Context(), 123, second.Token, 0)
	wantError(t, err, tempdata.ErrLeaseHeld)
	if err := s.ReleaseLease(t.Context(), 123, third.Token); err != nil {
		t.Error(err)
	}
	_, err = s.RenewLease(t.Context(), 123, third.Token, 0)
	wantError(t, err, tempdata.ErrNotFound)
}

// TestLeaseIsExclusive lets many take turns at two hubs.
func TestLeaseIsExclusive(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, nil)
	var inside, turns int
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range 10 {
		store := []*tempdata.Store{s.Store, s.other}[i%2]
		group.Go(func() {
			for range 5 {
				l, err := store.Lease(t.Context(), 1, tempdata.MaxLease, tempdata.MaxLeaseWait)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if inside++; inside != 1 {
					t.Errorf("%d have the lease", inside)
				}
				turns++
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				if err := store.ReleaseLease(t.Context(), 1, l.Token); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if turns != 50 {
		t.Errorf("there were %d turns, want 50", turns)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	long := strings.Repeat("x", 129)
	ok := tempdata.Key{Namespace: "n", Name: "k"}
	form := tempdata.FormKey{UserID: 1, Form: "f"}
	put := func(p tempdata.Put) error { return second(s.Put(ctx, p)) }
	big := []byte(`"` + strings.Repeat("x", tempdata.MaxValueSize) + `"`)
	for name, tt := range map[string]struct {
		err   error
		field string // of an InvalidError
		is    error
	}{
		"no namespace":      {err: put(tempdata.Put{Key: tempdata.Key{Name: "k"}, Data: []byte("1")}), field: "namespace"},
		"long namespace":    {err: put(tempdata.Put{Key: tempdata.Key{Namespace: long, Name: "k"}, Data: []byte("1")}), field: "namespace"},
		"user 0":            {err: put(tempdata.Put{Key: tempdata.Key{Namespace: "user_0", Name: "k"}, Data: []byte("1")}), field: "user_id"},
		"user 01":           {err: put(tempdata.Put{Key: tempdata.Key{Namespace: "user_01", Name: "k"}, Data: []byte("1")}), field: "user_id"},
		"a space":           {err: put(tempdata.Put{Key: tempdata.Key{Namespace: "n", Name: "a b"}, Data: []byte("1")}), field: "key"},
		"Cyrillic":          {err: second(s.Get(ctx, tempdata.Key{Namespace: "n", Name: "ключ"})), field: "key"},
		"a step's name":     {err: put(tempdata.Put{Key: userKey("form_data_1"), Data: []byte("1")}), is: tempdata.ErrReserved},
		"short ttl":         {err: put(tempdata.Put{Key: ok, Data: []byte("1"), TTL: time.Millisecond}), field: "ttl"},
		"long ttl":          {err: second(s.Touch(ctx, ok, tempdata.MaxTTL+1, tempdata.Condition{})), field: "ttl"},
		"negative ttl":      {err: put(tempdata.Put{Key: ok, Data: []byte("1"), TTL: -1}), field: "ttl"},
		"no JSON":           {err: put(tempdata.Put{Key: ok, Data: []byte("{")}), is: tempdata.ErrMalformed},
		"nothing":           {err: put(tempdata.Put{Key: ok}), is: tempdata.ErrMalformed},
		"a name twice":      {err: put(tempdata.Put{Key: ok, Data: []byte(`{"a":1,"a":2}`)}), is: tempdata.ErrMalformed},
		"too large":         {err: put(tempdata.Put{Key: ok, Data: big}), is: tempdata.ErrTooLarge},
		"no keys":           {err: second(s.GetMany(ctx, "n", nil)), field: "get"},
		"too many keys":     {err: second(s.GetMany(ctx, "n", make([]string, 1001))), field: "get"},
		"a key twice":       {err: second(s.GetMany(ctx, "n", []string{"a", "b", "a"})), field: "get[2]"},
		"no items":          {err: second(s.PutMany(ctx, "n", nil)), field: "set"},
		"an item's key":     {err: second(s.PutMany(ctx, "n", []tempdata.Item{{Name: "a", Data: []byte("1")}, {Name: ""}})), field: "set[1].key"},
		"an item's ttl":     {err: second(s.PutMany(ctx, "n", []tempdata.Item{{Name: "a", Data: []byte("1"), TTL: 1}})), field: "set[0].ttl"},
		"limit 0":           {err: second(s.List(ctx, "n", "", 0)), field: "limit"},
		"limit 1001":        {err: second(s.Forms(ctx, 1, "", 1001)), field: "limit"},
		"no cursor":         {err: second(s.List(ctx, "n", "nonsense", 10)), field: "cursor"},
		"clear no user":     {err: second(s.ClearUser(ctx, 0)), field: "user_id"},
		"forms of no user":  {err: second(s.Forms(ctx, 0, "", 10)), field: "user_id"},
		"form of no user":   {err: second(s.Form(ctx, tempdata.FormKey{Form: "f"})), field: "user_id"},
		"no form":           {err: second(s.Form(ctx, tempdata.FormKey{UserID: 1})), field: "form"},
		"a step's space":    {err: second(s.Step(ctx, form, "a b")), field: "step"},
		"a long step":       {err: second(s.Step(ctx, form, long[:119])), field: "step"},
		"a patch's member":  {err: second(s.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: []byte(`{"form":"x"}`)})), field: "form"},
		"a patch's steps":   {err: second(s.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: []byte(`{"steps":[]}`)})), field: "steps"},
		"a patch's step":    {err: second(s.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: []byte(`{"steps":{"a b":1}}`)})), field: `steps."a b"`},
		"no object":         {err: second(s.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: []byte(`[]`)})), is: tempdata.ErrMalformed},
		"patch of no form":  {err: second(s.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: []byte(`{}`)})), is: tempdata.ErrNotFound},
		"no messages":       {err: second(s.Append(ctx, tempdata.Append{Conversation: "c"})), field: "messages"},
		"max_len":           {err: second(s.Append(ctx, tempdata.Append{Conversation: "c", Messages: [][]byte{[]byte("1")}, MaxLen: 1001})), field: "max_len"},
		"conversation":      {err: second(s.Messages(ctx, tempdata.History{Limit: 1})), field: "conversation_id"},
		"messages together": {err: second(s.Append(ctx, tempdata.Append{Conversation: "c", Messages: [][]byte{big[:200<<10], big}})), is: tempdata.ErrMalformed},
		"lease ttl":         {err: second(s.Lease(ctx, 1, time.Hour, 0)), field: "ttl"},
		"lease wait":        {err: second(s.Lease(ctx, 1, 0, time.Minute)), field: "wait"},
		"lease token":       {err: s.ReleaseLease(ctx, 1, "x"), field: "token"},
	} {
		if tt.is != nil {
			if !errorIs(tt.err, tt.is) {
				t.Errorf("%s: %v, want %v", name, tt.err, tt.is)
			}
			continue
		}
		if fields := fieldsOf(tt.err); len(fields) != 1 || fields[0] != tt.field {
			t.Errorf("%s: %v, want %s to be wrong", name, tt.err, tt.field)
		}
	}
	if _, err := s.Get(ctx, ok); !errorIs(err, tempdata.ErrNotFound) {
		t.Errorf("after all that: %v", err)
	}
}

func TestFormIsBounded(t *testing.T) {
	t.Parallel()
	everyForm(t, func(t *testing.T, s *tempdata.Store, key tempdata.FormKey) {
		t.Helper()
		for i := range tempdata.MaxSteps {
			putStep(t, s, key, fmt.Sprint("s", i), "1")
		}
		putStep(t, s, key, "s1", "2")
		_, err := s.PutStep(t.Context(), tempdata.PutStep{FormKey: key, Step: tempdata.Step{Name: "more", Data: []byte("1")}})
		wantError(t, err, tempdata.ErrTooLarge)
		_, err = s.PatchForm(t.Context(), tempdata.PatchForm{FormKey: key, Patch: []byte(`{"steps":{"s2":null,"x":1,"y":1}}`)})
		wantError(t, err, tempdata.ErrTooLarge)
		f, err := s.Form(t.Context(), key)
		if err != nil || len(f.Steps) != tempdata.MaxSteps {
			t.Errorf("%d steps, %v", len(f.Steps), err)
		}
	})
	s := shared(t)
	key := tempdata.FormKey{UserID: 1, Form: "large"}
	large := `"` + strings.Repeat("x", 100<<10) + `"`
	putStep(t, s, key, "a", large)
	putStep(t, s, key, "b", large)
	_, err := s.PutStep(t.Context(), tempdata.PutStep{FormKey: key, Step: tempdata.Step{Name: "c", Data: []byte(large)}})
	wantError(t, err, tempdata.ErrTooLarge)
	putStep(t, s, key, "a", "1")
	putStep(t, s, key, "c", large)
}
