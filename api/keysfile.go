package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/internal/regularfile"
)

// MaxKeysFile bounds a keys file, in bytes: some ten thousand keys.
const MaxKeysFile = 4 << 20

// keysFile is the content of a keys file.
type keysFile struct {
	Keys []*Key `json:"keys"`
}

// keyInFile tells a key without an end from one whose end is the zero time, which is long past.
type keyInFile struct {
	Key
	Expires *time.Time `json:"expires"`
}

// ParseKeys reads the content of a keys file:
// {"keys": [{"id","name","sha256","scopes","expires"?,"rate_limit"?,"max_streams"?}]}. There is at least one key. The error
// says where something is wrong, and quotes neither hashes nor what a token might be.
func ParseKeys(raw []byte) ([]*Key, error) {
	if len(raw) > MaxKeysFile {
		return nil, fmt.Errorf("has more than %d bytes", MaxKeysFile)
	}
	var file struct {
		Keys []*keyInFile `json:"keys"`
	}
	if err := jsonv2.Unmarshal(raw, &file, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, faultIn(err)
	}
	if len(file.Keys) == 0 {
		return nil, errors.New("holds no keys")
	}
	keys := make([]*Key, len(file.Keys))
	for i, found := range file.Keys {
		if found == nil {
			return nil, errors.New("a key is null")
		}
		key := &found.Key
		if err := key.prepare(); err != nil {
			return nil, err
		}
		if at := found.Expires; at != nil {
			if at.IsZero() {
				return nil, fmt.Errorf("key %q: expires is in the year 1; a key that does not expire has none", key.ID)
			}
			key.Expires = *at
		}
		keys[i] = key
	}
	return keys, checkTwins(keys)
}

// faultIn says what is wrong with JSON, without its content.
func faultIn(err error) error {
	var syntax *jsontext.SyntacticError
	var semantic *jsonv2.SemanticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("ends too early")
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("%s is named twice", shown(string(syntax.JSONPointer)))
	case errors.As(err, &syntax):
		return fmt.Errorf("is no JSON: at byte %d", syntax.ByteOffset)
	case errors.As(err, &semantic) && errors.Is(err, jsonv2.ErrUnknownName):
		return fmt.Errorf("%s is not known", shown(string(semantic.JSONPointer)))
	case errors.As(err, &semantic) && semantic.JSONPointer == "":
		return errors.New("is no object")
	case errors.As(err, &semantic):
		return fmt.Errorf("%s is not of the kind that belongs there", shown(string(semantic.JSONPointer)))
	}
	return errors.New("ends too early") // Of nothing at all it says so itself.
}

// ReadKeysFile is ParseKeys for a file, which must be a regular one. The error names it.
func ReadKeysFile(path string) ([]*Key, error) {
	raw, err := regularfile.Read(path, MaxKeysFile)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// AddToKeysFile appends a key to a keys file as ChangeKeysFile does. The file is made when it is not there.
func AddToKeysFile(path string, key *Key) error {
	return changeKeysFile(path, true, func(keys []*Key) ([]*Key, error) { return append(keys, key), nil })
}

// ChangeKeysFile puts into a keys file what change returns of its keys. Whoever reads the file meanwhile finds the old one or
// the new one, whole; others who change it wait for each other, up to 5 s. Its owner and group may then do with the file
// what they might before, and nobody else anything. A link stays one. After an error nothing has changed.
func ChangeKeysFile(path string, change func([]*Key) ([]*Key, error)) error {
	return changeKeysFile(path, false, change)
}

func changeKeysFile(path string, create bool, change func([]*Key) ([]*Key, error)) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	next, err := claim(path + ".new")
	if err != nil {
		return err
	}
	defer func() {
		_ = next.Close() // It was closed before, unless something else had failed.
		if err != nil {
			_ = os.Remove(next.Name())
		}
	}()
	keys, err := ReadKeysFile(path)
	switch info, statErr := os.Stat(path); {
	case err == nil && statErr == nil:
		if err := next.Chmod(info.Mode().Perm() & 0o660); err != nil {
			return err
		}
		keepOwner(next, info)
	case !create || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if keys, err = change(keys); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(keysFile{keys}, "", "  ")
	if err != nil {
		return err
	}
	if _, err := ParseKeys(raw); err != nil {
		return err
	}
	if _, err := next.Write(append(raw, '\n')); err != nil {
		return err
	}
	if err := next.Sync(); err != nil {
		return err
	}
	if err := next.Close(); err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}

// claim makes the file that is to take the place of the keys file. While it is there nobody else can.
func claim(path string) (*os.File, error) {
	const patience, again = 5 * time.Second, 20 * time.Millisecond
	tick := time.NewTicker(again)
	defer tick.Stop()
	for since := time.Now(); ; <-tick.C {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: as above.
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
		if time.Since(since) > patience {
			return nil, fmt.Errorf("somebody else is changing the keys; if nobody is, delete %s", path)
		}
	}
}
