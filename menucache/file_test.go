package menucache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/menucache"
)

// watched is a definitions file that is watched, on the clock of a synctest bubble.
type watched struct {
	*menucache.DefinitionsFile
	path    string
	logs    *observer.ObservedLogs
	changes chan *menucache.Definitions
}

const interval = 2 * time.Second

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{path: filepath.Join(t.TempDir(), "menus.yaml"), changes: make(chan *menucache.Definitions, 10)}
	w.write(t, small)
	core, logs := observer.New(zapcore.InfoLevel)
	w.logs = logs
	file, d, err := menucache.OpenDefinitionsFile(w.path, interval, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	if d.Version() != parse(t, small).Version() {
		t.Fatal("the file was not read")
	}
	w.DefinitionsFile = file
	if err := file.Start(t.Context(), func(d *menucache.Definitions) { w.changes <- d }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(file.Close)
	return w
}

func (w *watched) write(t *testing.T, content string) {
	t.Helper()
	if err := os.WriteFile(w.path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantChange waits until definitions are taken and checks that they are those of the content, and that all is well.
func (w *watched) wantChange(t *testing.T, content string) {
	t.Helper()
	select {
	case d := <-w.changes:
		if d.Version() != parse(t, content).Version() {
			t.Fatal("other definitions were taken")
		}
	case <-time.After(2 * interval):
		t.Fatal("the change was not taken")
	}
	synctest.Wait() // What follows onChange is done.
	if err := w.Err(); err != nil {
		t.Fatalf("a file without fault: %v", err)
	}
}

// wantNoChange lets the file be looked at several times.
func (w *watched) wantNoChange(t *testing.T) {
	t.Helper()
	select {
	case <-w.changes:
		t.Fatal("definitions were taken")
	case <-time.After(5 * interval):
	}
}

// wantErr checks what is wrong with the file and that it was logged once.
func (w *watched) wantErr(t *testing.T, words ...string) {
	t.Helper()
	w.wantNoChange(t)
	err := w.Err()
	if err == nil {
		t.Fatal("nothing is wrong with the file")
	}
	for _, word := range append(words, w.path) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %s", err, word)
		}
	}
	logged := w.logs.TakeAll()
	if len(logged) != 1 || logged[0].Level != zapcore.ErrorLevel || logged[0].ContextMap()["error"] != err.Error() {
		t.Errorf("logged %v", logged)
	}
}

func TestFileChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.wantNoChange(t)
		changed := replace(t, small, "Панель", "Пульт")
		w.write(t, changed)
		w.wantChange(t, changed)
		if logged := w.logs.TakeAll(); len(logged) != 1 || logged[0].ContextMap()["version"] != parse(t, changed).Version() {
			t.Errorf("logged %v", logged)
		}
		w.wantNoChange(t)
	})
}

func TestFileWithAFaultHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.write(t, replace(t, small, "columns: 3", "columns: 9"))
		w.wantErr(t, "line 7, menu main: columns must be a whole number from 1 to 8")
		w.write(t, replace(t, small, "columns: 3", "columns: 99"))
		w.wantErr(t, "line 7, menu main")
		changed := replace(t, small, "columns: 3", "columns: 4")
		w.write(t, changed)
		w.wantChange(t, changed)
		w.logs.TakeAll()

		// What is in use need not be taken again.
		w.write(t, "")
		w.wantErr(t, "the file is empty")
		w.write(t, changed)
		w.wantNoChange(t)
		if err := w.Err(); err != nil || w.logs.Len() != 1 {
			t.Errorf("after the fault: %v, logged %v", err, w.logs.All())
		}
	})
}

func TestFileVanishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		w.wantErr(t, "no such file")
		if err := os.Mkdir(w.path, 0o700); err != nil {
			t.Fatal(err)
		}
		w.wantErr(t, "no regular file")
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		changed := replace(t, small, "columns: 3", "columns: 4")
		w.write(t, changed)
		w.wantChange(t, changed)
	})
}

// Editors write another file and rename it; a mounted config map is a link that is made to point elsewhere.
func TestFileIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		changed := replace(t, small, "columns: 3", "columns: 4")
		other := w.path + ".new"
		if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, w.path); err != nil {
			t.Fatal(err)
		}
		w.wantChange(t, changed)

		changed = replace(t, small, "columns: 3", "columns: 5")
		if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		link := w.path + ".link"
		if err := os.Symlink(other, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, w.path); err != nil {
			t.Fatal(err)
		}
		w.wantChange(t, changed)
	})
}

// A file that is cut off where it happens to be well made is not taken while it is still being written.
func TestFileIsWrittenSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		changed := replace(t, small, "columns: 3", "columns: 4")
		half, _, ok := strings.Cut(changed, "  other:")
		if !ok {
			t.Fatal("no half")
		}
		parse(t, half)
		w.write(t, half)
		<-time.After(interval + interval/8) // Half was seen once.
		synctest.Wait()
		w.write(t, changed)
		w.wantChange(t, changed)
		w.wantNoChange(t)
	})
}

func TestFileReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		changed := replace(t, small, "columns: 3", "columns: 4")
		w.write(t, changed)
		w.Reload()
		select {
		case d := <-w.changes:
			if d.Version() != parse(t, changed).Version() {
				t.Error("other definitions were taken")
			}
		default:
			t.Fatal("Reload returned before the change was taken")
		}
		w.logs.TakeAll()
		w.Reload()
		if logged := w.logs.TakeAll(); len(logged) != 1 || logged[0].Message != "the menu definitions have not changed" {
			t.Errorf("logged %v", logged)
		}
		w.write(t, "nonsense")
		w.Reload()
		w.wantErr(t, "line 1: the file must be a mapping")
		w.Reload()
		w.wantErr(t, "line 1: the file must be a mapping")
	})
}

func TestFileCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		if err := w.Start(t.Context(), func(*menucache.Definitions) {}); err == nil {
			t.Error("it was started twice")
		}
		var closing sync.WaitGroup
		closing.Go(w.Close)
		w.Close()
		closing.Wait()
		w.write(t, replace(t, small, "columns: 3", "columns: 4"))
		w.Reload()
		w.wantNoChange(t)
		if err := w.Start(t.Context(), func(*menucache.Definitions) {}); err == nil {
			t.Error("it was started after Close")
		}
	})
}

func TestFileGoesOnAfterItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "menus.yaml")
		w := &watched{path: path, changes: make(chan *menucache.Definitions, 1)}
		w.write(t, small)
		file, _, err := menucache.OpenDefinitionsFile(path, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		w.DefinitionsFile = file
		ctx, cancel := context.WithCancel(t.Context())
		if err := file.Start(ctx, func(d *menucache.Definitions) { w.changes <- d }); err != nil {
			t.Fatal(err)
		}
		cancel()
		changed := replace(t, small, "columns: 3", "columns: 4")
		w.write(t, changed)
		w.wantChange(t, changed)
	})
}

func TestOpenRefusesAFaultyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "menus.yaml")
	if _, _, err := menucache.OpenDefinitionsFile(path, 0, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got error %v", err)
	}
	if err := os.WriteFile(path, []byte(replace(t, small, "columns: 3", "columns: 9")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := menucache.OpenDefinitionsFile(path, 0, nil)
	var faulty *menucache.DefinitionsError
	if !errors.As(err, &faulty) || !strings.Contains(err.Error(), path) || faulty.Faults[0].Line != 7 || faulty.Faults[0].Menu != "main" {
		t.Errorf("got error %v", err)
	}
	if _, _, err := menucache.OpenDefinitionsFile(path, -1, nil); err == nil {
		t.Error("an interval below 0")
	}
	// Reading a pipe would wait for somebody to write.
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := menucache.OpenDefinitionsFile(pipe, 0, nil); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a pipe: got error %v", err)
	}
}
