package tempdata_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/tempdata"
)

func TestValueComesBack(t *testing.T) {
	t.Parallel()
	layouts(t, func(t *testing.T, s *tempdata.Store) {
		t.Helper()
		key := tempdata.Key{Namespace: "sessions", Name: "abc:1"}
		_, err := s.Get(t.Context(), key)
		wantError(t, err, tempdata.ErrNotFound)
		first := put(t, s, key, ` { "name" : "Анна", "n": 42 } `, 0)
		if !first.Created || first.ExpiresIn != 24*time.Hour || first.Degraded {
			t.Errorf("the first put gave %+v", first)
		}
		v := get(t, s, key)
		if string(v.Data) != `{"name":"Анна","n":42}` || v.Type != "dict" || v.ETag != first.ETag {
			t.Errorf("got %s, %+v after %+v", v.Data, v, first)
		}
		if age := time.Since(v.CreatedAt); age < -time.Second || age > soon {
			t.Errorf("it was created at %v", v.CreatedAt)
		}
		if v.ExpiresIn <= 24*time.Hour-soon || v.ExpiresIn > 24*time.Hour {
			t.Errorf("it expires in %v", v.ExpiresIn)
		}
		second := put(t, s, key, `{"name":"Анна","n":42}`, time.Minute)
		if second.Created || second.ETag == first.ETag {
			t.Errorf("the second put gave %+v after %+v", second, first)
		}
		if _, err := s.Delete(t.Context(), key, tempdata.Condition{}); err != nil {
			t.Error(err)
		}
		_, err = s.Delete(t.Context(), key, tempdata.Condition{})
		wantError(t, err, tempdata.ErrNotFound)
		third := put(t, s, key, `{"name":"Анна","n":42}`, time.Minute)
		if third.ETag == first.ETag || third.ETag == second.ETag || !third.Created {
			t.Errorf("after a deletion the put gave %+v", third)
		}
	})
}

func TestConditions(t *testing.T) {
	t.Parallel()
	layouts(t, func(t *testing.T, s *tempdata.Store) {
		t.Helper()
		key := tempdata.Key{Namespace: tempdata.UserNamespace(123), Name: "draft"}
		write := func(data string, c tempdata.Condition) (tempdata.Written, error) {
			return s.Put(t.Context(), tempdata.Put{Key: key, Data: []byte(data), Condition: c})
		}
		_, err := write("1", tempdata.Condition{Exists: true})
		if tag := unmet(t, err); tag != "" {
			t.Errorf("there is nothing, but its tag is %s", tag)
		}
		first, err := write("1", tempdata.Condition{Absent: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = write("2", tempdata.Condition{Absent: true})
		if tag := unmet(t, err); tag != first.ETag {
			t.Errorf("the tag is %s, want %s", tag, first.ETag)
		}
		second, err := write("2", tempdata.Condition{Tags: []string{`"other"`, first.ETag}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = write("3", tempdata.Condition{Tags: []string{first.ETag}})
		if tag := unmet(t, err); tag != second.ETag {
			t.Errorf("the tag is %s, want %s", tag, second.ETag)
		}
		_, err = s.Touch(t.Context(), key, time.Hour, tempdata.Condition{Tags: []string{first.ETag}})
		unmet(t, err)
		touched, err := s.Touch(t.Context(), key, time.Hour, tempdata.Condition{Tags: []string{second.ETag}})
		if err != nil || touched.ETag != second.ETag || touched.ExpiresIn != time.Hour {
			t.Errorf("touching gave %+v, %v", touched, err)
		}
		if v := get(t, s, key); v.ExpiresIn <= time.Hour-soon || string(v.Data) != "2" || v.Type != "int" {
			t.Errorf("got %+v", v)
		}
		for _, c := range []tempdata.Condition{
			{Tags: []string{first.ETag}},
			{Tags: []string{`""`}},
			{Tags: []string{`"*"`}},
			{Tags: []string{`"-"`}},
			{Tags: []string{`"="`}},
			{Tags: []string{"W/" + second.ETag}},
			{Tags: []string{second.ETag}, Absent: true},
			{Exists: true, Absent: true},
		} {
			_, err = s.Delete(t.Context(), key, c)
			unmet(t, err)
			_, err = write("4", c)
			unmet(t, err)
		}
		if _, err := s.Delete(t.Context(), key, tempdata.Condition{Tags: []string{second.ETag}}); err != nil {
			t.Error(err)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	layouts(t, func(t *testing.T, s *tempdata.Store) {
		t.Helper()
		const n = 1000
		items, names := make([]tempdata.Item, n), make([]string, n)
		for i := range items {
			names[i] = fmt.Sprintf("k%d", i)
			items[i] = tempdata.Item{Name: names[i], Data: fmt.Appendf(nil, `{"i":%d}`, i), TTL: time.Duration(60+i) * time.Second}
		}
		written, err := s.PutMany(t.Context(), "bulk", items)
		if err != nil || len(written) != n {
			t.Fatal(len(written), err)
		}
		values, err := s.GetMany(t.Context(), "bulk", append(names[:n-1:n-1], "nobody"))
		if err != nil || len(values) != n {
			t.Fatal(len(values), err)
		}
		for i, v := range values[:n-1] {
			if string(v.Data) != string(items[i].Data) || v.ETag != written[i].ETag {
				t.Fatalf("%d is %+v, want %s", i, v, items[i].Data)
			}
		}
		if last := values[n-1]; last.ETag != "" || last.Data != nil {
			t.Errorf("what is not there is %+v", last)
		}
		seen := map[string]bool{}
		for cursor := ""; ; {
			page, err := s.List(t.Context(), "bulk", cursor, 300)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				if seen[item.Name] {
					t.Errorf("%s came twice", item.Name)
				}
				seen[item.Name] = true
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("%d keys are listed, want %d", len(seen), n)
		}
		cleared, err := s.Clear(t.Context(), "bulk")
		if err != nil || cleared != n {
			t.Errorf("%d were cleared, %v", cleared, err)
		}
		if page, err := s.List(t.Context(), "bulk", "", 1); err != nil || len(page.Items) != 0 {
			t.Errorf("after that there are %v, %v", page, err)
		}
		_, err = s.Get(t.Context(), tempdata.Key{Namespace: "bulk", Name: "k1"})
		wantError(t, err, tempdata.ErrNotFound)
	})
}
