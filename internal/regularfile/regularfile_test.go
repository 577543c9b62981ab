//go:build unix

package regularfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/regularfile"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		if raw, err := regularfile.Read(name, 5); err != nil || string(raw) != "12345" {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
	if _, err := regularfile.Read(path, 4); err == nil || !strings.Contains(err.Error(), path+" has more than 4 bytes") {
		t.Errorf("a file that is too long: %v", err)
	}
	if _, err := regularfile.Read(path+"x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestReadWaitsForNothing would not end if it did.
func TestReadWaitsForNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{pipe: regularfile.ErrNotRegular, os.DevNull: regularfile.ErrNotRegular, dir: syscall.EISDIR} {
		if _, err := regularfile.Read(path, 5); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
