package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
)

// keyFiles are the files that keys come from: of SERVICE_AUTH_TOKEN_FILE and HUB_KEYS_FILE.
type keyFiles struct{ token, keys content }

// content is what a file holds, or why it cannot be read. It is nothing if no file is set.
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

func (f keyFiles) equal(other keyFiles) bool {
	return f.token.equal(other.token) && f.keys.equal(other.keys)
}

// readKeyFiles reads the files that are set.
func (c *serveCommand) readKeyFiles() keyFiles {
	return keyFiles{token: readSmall(c.ServiceAuthTokenFile), keys: readSmall(c.HubKeysFile)}
}

// readSmall reads a file that is no larger than one of keys may be, with a byte more of one that is.
func readSmall(path string) content {
	if path == "" {
		return content{}
	}
	file, err := os.Open(path) //nolint:gosec // G304: the operator names the file.
	if err != nil {
		return content{err: err}
	}
	defer func() { _ = file.Close() }()
	read, err := io.ReadAll(io.LimitReader(file, api.MaxKeysFile+1))
	return content{bytes: read, err: err}
}

// keysIn returns the configured keys; there may be none.
func (c *serveCommand) keysIn(files keyFiles) ([]*api.Key, error) {
	tokens, from, err := c.tokens(files.token)
	if err != nil {
		return nil, err
	}
	var all []*api.Key
	for i, token := range tokens {
		key, err := api.KeyForToken(token)
		if err != nil {
			return nil, &settingError{from, "is too weak: " + err.Error()}
		}
		if i > 0 {
			key.ID += "-old"
		}
		all = append(all, key)
	}
	if c.HubKeysFile == "" {
		return all, nil
	}
	if err := files.keys.err; err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", "cannot be used: " + err.Error()}
	}
	fromFile, err := api.ParseKeys(files.keys.bytes)
	if err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", fmt.Sprintf("cannot be used: %s: %v", c.HubKeysFile, err)}
	}
	return append(all, fromFile...), nil
}

// tokens returns the tokens that allow everything and the setting they come from: none, one, or two while the new one and the
// old one are valid.
func (t *tokenSettings) tokens(file content) (tokens []string, from string, err error) {
	if t.ServiceAuthTokenFile == "" || t.ServiceAuthToken != "" {
		token, from, err := t.token()
		if token == "" || err != nil {
			return nil, from, err
		}
		return []string{token}, from, nil
	}
	from = "SERVICE_AUTH_TOKEN_FILE"
	if file.err != nil {
		return nil, from, &settingError{from, "cannot be read: " + file.err.Error()}
	}
	tokens = tokenLines(file.bytes)
	switch {
	case len(tokens) == 0:
		return nil, from, &settingError{from, fmt.Sprintf("cannot be read: %s is empty", t.ServiceAuthTokenFile)}
	case len(tokens) > 2:
		return nil, from, &settingError{from, "must hold one token, or a new one and the old one, each on a line"}
	}
	return tokens, from, nil
}

// keyring keeps the keys as their files have them. It looks at the files every second and on SIGHUP, and compares what is in
// them, so that it sees a file that was replaced, or that is reached by links, as well as one that was written to. New
// content counts once it was read twice without a difference, as half a file may look whole. While a file has a
// fault, or is gone, the keys stay as they were.
type keyring struct {
	*api.Keys
	cfg *serveCommand

	log, audit *zap.Logger
	stop       func()

	reading       sync.Mutex // Held while files are read and acted upon, so that no older content comes after newer.
	taken, judged keyFiles   // What the keys in use came from, and what was last taken or found faulty.

	mu     sync.Mutex
	fault  error
	counts keyReloads
}

// keyReloads count how often new content of the files was taken and found faulty.
type keyReloads struct{ OK, Failed int64 }

const (
	lookAtKeys    = time.Second
	lookAtNewKeys = lookAtKeys / 4
	// mostKeysTold bounds a line of the audit log.
	mostKeysTold = 100
)

// newKeyring reads the keys for the first time. It does nothing more before start.
func (c *serveCommand) newKeyring() (*keyring, error) {
	read := c.readKeyFiles()
	all, err := c.keysIn(read)
	if err != nil {
		return nil, err
	}
	keys, err := api.NewKeys(all...)
	if err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", "cannot be used: " + err.Error()}
	}
	return &keyring{cfg: c, Keys: keys, taken: read, judged: read}, nil
}

// start begins to look at the files, and goes on until close whatever becomes of the context.
func (k *keyring) start(ctx context.Context) error {
	if !regular(k.cfg.ServiceAuthTokenFile) && !regular(k.cfg.HubKeysFile) {
		k.stop = func() {} // Neither is set, or what is cannot be read twice.
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { k.watch(ctx) })
	unhook := onHangup(func() { k.look(ctx, nil, true) })
	k.stop = func() {
		cancel()
		unhook()
		work.Wait()
	}
	return nil
}

// regular reports whether a file can be read again: a pipe cannot.
func regular(path string) bool {
	info, err := os.Stat(path)
	return path != "" && err == nil && info.Mode().IsRegular()
}

// close ends what start began, if that was called. It may be called twice.
func (k *keyring) close() {
	if k.stop != nil {
		k.stop()
	}
}

func (k *keyring) watch(ctx context.Context) {
	timer := time.NewTimer(lookAtKeys)
	defer timer.Stop()
	var pending *keyFiles // Seen once, and new.
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if pending = k.look(ctx, pending, false); pending != nil {
			timer.Reset(lookAtNewKeys)
		} else {
			timer.Reset(lookAtKeys)
		}
	}
}

// look reads the files, acts on new content that is the same as pending, or on any if that is urgent, and returns other new
// content.
func (k *keyring) look(ctx context.Context, pending *keyFiles, urgent bool) *keyFiles {
	k.reading.Lock()
	defer k.reading.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	read := k.cfg.readKeyFiles()
	switch {
	case read.equal(k.judged):
		if urgent {
			k.log.Info("the keys have not changed")
		}
		return nil
	case !urgent && (pending == nil || !read.equal(*pending)):
		return &read
	}
	k.judge(read)
	return nil
}

// judge takes content into use or says why not. It is called with reading held.
func (k *keyring) judge(read keyFiles) {
	k.judged = read
	if read.equal(k.taken) {
		k.setFault(nil)
		k.log.Info("the keys in use are back in their files")
		return
	}
	before := k.All()
	now, err := k.cfg.keysIn(read)
	if err == nil {
		err = k.Replace(now...)
	}
	k.setFault(err)
	if err != nil {
		k.count(func(n *keyReloads) { n.Failed++ })
		k.log.Error("the keys stay as they were: their files cannot be used", zap.Error(err))
		k.audit.Info("keys_reload_failed", zap.String("outcome", "failed"))
		return
	}
	k.taken = read
	k.count(func(n *keyReloads) { n.OK++ })
	k.log.Info("took new keys", zap.Int("keys", len(now)))
	k.audit.Info("keys_reloaded", zap.String("outcome", "done"), zap.Int("keys", len(now)),
		zap.Strings("added", missing(now, before)), zap.Strings("removed", missing(before, now)))
}

// missing returns the ids of keys that others do not have, or have otherwise; a hundred at most.
func missing(keys, others []*api.Key) []string {
	ids := []string{}
	for _, key := range keys {
		same := func(o *api.Key) bool {
			return o.ID == key.ID && o.SHA256 == key.SHA256 && slices.Equal(o.Scopes, key.Scopes) && o.Expires.Equal(key.Expires)
		}
		if len(ids) < mostKeysTold && !slices.ContainsFunc(others, same) {
			ids = append(ids, key.ID)
		}
	}
	return ids
}

func (k *keyring) setFault(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = err
}

func (k *keyring) count(add func(*keyReloads)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	add(&k.counts)
}

// Stats returns how often the keys were read anew.
func (k *keyring) Stats() keyReloads {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counts
}

// check is what /health tells of the keys.
func (k *keyring) check(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fault != nil {
		return health.Warning("The files of the keys cannot be used, the last good keys are: see the log.")
	}
	if all := k.All(); len(all) > 0 && !slices.ContainsFunc(all, func(key *api.Key) bool {
		return key.Expires.IsZero() || time.Now().Before(key.Expires)
	}) {
		return health.Warning("All keys have expired: nobody is let in.")
	}
	return nil
}
