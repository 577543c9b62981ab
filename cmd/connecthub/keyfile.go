package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/regularfile"
)

// keyFile is a file that keys come from, of SERVICE_AUTH_TOKEN_FILE or HUB_KEYS_FILE.
type keyFile struct {
	setting, path string
	// parse returns the keys in its content, of which there is at least one.
	parse func(content) ([]*api.Key, error)
	// fixed is whether what was read first counts for good: of a pipe it is all there ever was.
	fixed bool

	// keys are those in use, and taken is what they came from.
	keys  []*api.Key
	taken content
	// judged is what was taken or found faulty last, pending what was seen once since then, changed whether judged is new.
	judged  content
	pending *content
	changed bool
}

// content is what a file holds, or why it cannot be read.
type content struct {
	bytes []byte
	err   error
}

func (c content) equal(other content) bool {
	if c.err != nil || other.err != nil {
		return c.err != nil && other.err != nil && c.err.Error() == other.err.Error()
	}
	return bytes.Equal(c.bytes, other.bytes)
}

// keyFiles returns the files that are set.
func (c *serveCommand) keyFiles() (files []*keyFile) {
	if c.ServiceAuthTokenFile != "" && c.ServiceAuthToken == "" {
		files = append(files, &keyFile{setting: "SERVICE_AUTH_TOKEN_FILE", path: c.ServiceAuthTokenFile, parse: c.keysOfTokens})
	}
	if c.HubKeysFile != "" {
		files = append(files, &keyFile{setting: "HUB_KEYS_FILE", path: c.HubKeysFile, parse: c.keysOfFile})
	}
	return files
}

// readFirst reads the file and takes what it holds. It waits for whoever writes into a pipe.
func (f *keyFile) readFirst() error {
	read := func() (content, bool) {
		file, err := os.Open(f.path)
		if err != nil {
			return content{err: err}, false
		}
		defer func() { _ = file.Close() }() // It was only read.
		info, err := file.Stat()
		if err != nil {
			return content{err: err}, false
		}
		raw, err := io.ReadAll(io.LimitReader(file, api.MaxKeysFile+1))
		return content{bytes: raw, err: err}, !info.Mode().IsRegular()
	}
	f.judged, f.fixed = read()
	f.taken = f.judged
	var err error
	f.keys, err = f.parse(f.taken)
	return err
}

// look reads the file again. It reports whether it has new content, which is judged then: any if that is urgent, else what was
// seen twice, as half a file may look whole. And it reports whether to look again soon.
func (f *keyFile) look(urgent bool) (changed, again bool) {
	f.changed = false
	if f.fixed {
		return false, false
	}
	var read content
	read.bytes, read.err = regularfile.Read(f.path, api.MaxKeysFile)
	switch {
	case read.equal(f.judged):
		f.pending = nil
	case !urgent && (f.pending == nil || !read.equal(*f.pending)):
		f.pending, again = &read, true
	default:
		f.judged, f.pending, f.changed = read, nil, true
	}
	return f.changed, again
}

// keysOfTokens are the keys that allow everything, of the tokens in a file: one, or two while the new one and the old one are
// valid.
func (c *serveCommand) keysOfTokens(file content) (keys []*api.Key, err error) {
	const from = "SERVICE_AUTH_TOKEN_FILE"
	if file.err != nil {
		return nil, &settingError{from, "cannot be read: " + file.err.Error()}
	}
	tokens := tokenLines(file.bytes)
	switch {
	case len(tokens) == 0:
		return nil, &settingError{from, fmt.Sprintf("cannot be read: %s is empty", c.ServiceAuthTokenFile)}
	case len(tokens) > 2:
		return nil, &settingError{from, "must hold one token, or a new one and the old one, each on a line"}
	}
	for i, token := range tokens {
		key, err := keyOfToken(token, from)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			key.ID += "-old"
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// keyOfToken is the key of a token from a setting.
func keyOfToken(token, from string) (*api.Key, error) {
	key, err := api.KeyForToken(token)
	if err != nil {
		return nil, &settingError{from, "is too weak: " + err.Error()}
	}
	return key, nil
}

// keysOfFile are the keys of HUB_KEYS_FILE.
func (c *serveCommand) keysOfFile(file content) ([]*api.Key, error) {
	if err := file.err; err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", "cannot be used: " + err.Error()}
	}
	keys, err := api.ParseKeys(file.bytes)
	if err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", fmt.Sprintf("cannot be used: %s: %v", c.HubKeysFile, err)}
	}
	return keys, nil
}
