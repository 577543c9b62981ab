package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
)

// keyring keeps the keys as their files have them. It looks at the files every second and on SIGHUP, and compares what is in
// them, so that it sees a file that was replaced, or that is reached by links, as well as one that was written to. New
// content counts once it was read twice without a difference, as half a file may look whole. Each file is judged by itself:
// while it has a fault, or is gone, the keys that came from it stay as they were.
type keyring struct {
	*api.Keys
	cfg *serveCommand

	log, audit *zap.Logger
	stop       func()

	reading sync.Mutex // Held while files are read and acted upon, so that no older content comes after newer.
	own     []*api.Key // Of SERVICE_AUTH_TOKEN.
	files   []*keyFile

	mu sync.Mutex
	// faults are why files cannot be used, by their settings.
	faults map[string]error
	counts keyReloads
}

// keyReloads count how often new content of the files was taken and found faulty.
type keyReloads struct{ OK, Failed int64 }

const (
	lookAtKeys    = time.Second
	lookAtNewKeys = lookAtKeys / 4
)

// newKeyring reads the keys for the first time. It does nothing more before start.
func (c *serveCommand) newKeyring() (*keyring, error) {
	k := &keyring{cfg: c, files: c.keyFiles(), faults: map[string]error{}}
	if c.ServiceAuthTokenFile == "" || c.ServiceAuthToken != "" {
		token, from, err := c.token()
		if err != nil {
			return nil, err
		}
		if token != "" {
			key, err := keyOfToken(token, from)
			if err != nil {
				return nil, err
			}
			k.own = []*api.Key{key}
		}
	}
	for _, f := range k.files {
		if err := f.readFirst(); err != nil {
			return nil, err
		}
	}
	var err error
	if k.Keys, err = api.NewKeys(k.with(nil)...); err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", "cannot be used: " + err.Error()}
	}
	return k, nil
}

// with returns the keys with those that files have now in the place of theirs.
func (k *keyring) with(fresh map[*keyFile][]*api.Key) []*api.Key {
	all := slices.Clone(k.own)
	for _, f := range k.files {
		if keys, ok := fresh[f]; ok {
			all = append(all, keys...)
		} else {
			all = append(all, f.keys...)
		}
	}
	return all
}

// start begins to look at the files, and goes on until close whatever becomes of the context.
func (k *keyring) start(ctx context.Context) error {
	if !slices.ContainsFunc(k.files, func(f *keyFile) bool { return !f.fixed }) {
		k.stop = func() {}
		if k.cfg.MenuDefinitions == "" && k.cfg.AuditLogFile == "" { // Else who reads those tells of the signal.
			k.stop = onHangup(func() {
				k.log.Info("there is nothing to read again: no file of keys or menu definitions is set, and none of the audit log")
			})
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { k.watch(ctx) })
	unhook := onHangup(func() { k.look(ctx, true) })
	k.stop = func() {
		cancel()
		unhook()
		work.Wait()
	}
	return nil
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
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if k.look(ctx, false) {
			timer.Reset(lookAtNewKeys)
		} else {
			timer.Reset(lookAtKeys)
		}
	}
}

// look reads the files and acts on what is new, and reports whether to look again soon.
func (k *keyring) look(ctx context.Context, urgent bool) (again bool) {
	k.reading.Lock()
	defer k.reading.Unlock()
	if ctx.Err() != nil {
		return false
	}
	changed := false
	for _, f := range k.files {
		other, soon := f.look(urgent)
		changed, again = changed || other, again || soon
	}
	switch {
	case changed:
		k.judge()
	case urgent:
		k.log.Info("the keys have not changed")
	}
	return again
}

// judge takes what the files have into use, or says why not. It is called with reading held.
func (k *keyring) judge() {
	before := k.All()
	faults, fresh := make(map[string]error), make(map[*keyFile][]*api.Key)
	for _, f := range k.files {
		switch keys, err := f.parse(f.judged); {
		case err != nil:
			faults[f.setting] = err
		case !f.judged.equal(f.taken):
			fresh[f] = keys
		case f.changed:
			k.log.Info("the keys in use are back in their file", zap.String("setting", f.setting))
		}
	}
	if k.use(fresh) != nil { // Two files have the same key: each that can be used without the other is.
		for _, f := range k.files {
			keys, ok := fresh[f]
			if !ok {
				continue
			}
			if err := k.use(map[*keyFile][]*api.Key{f: keys}); err != nil {
				faults[f.setting] = &settingError{f.setting, "cannot be used: " + err.Error()}
			}
		}
	}
	k.tell(faults)
	if now := k.All(); !slices.Equal(now, before) {
		k.count(func(n *keyReloads) { n.OK++ })
		k.log.Info("took new keys", zap.Int("keys", len(now)))
		k.audit.Info("keys_reloaded", append(changesOf(before, now).fields(), zap.String("outcome", "done"), zap.Int("keys", len(now)))...)
	}
}

// use puts what files have now in the place of their keys.
func (k *keyring) use(fresh map[*keyFile][]*api.Key) error {
	if len(fresh) == 0 {
		return nil
	}
	if err := k.Replace(k.with(fresh)...); err != nil {
		return err
	}
	for f, keys := range fresh {
		f.keys, f.taken = keys, f.judged
	}
	return nil
}

// tell says which files cannot be used, once for each content.
func (k *keyring) tell(faults map[string]error) {
	k.mu.Lock()
	before := k.faults
	k.faults = faults
	k.mu.Unlock()
	for _, f := range k.files {
		err := faults[f.setting]
		if err == nil || !f.changed && before[f.setting] != nil {
			continue
		}
		k.count(func(n *keyReloads) { n.Failed++ })
		k.log.Error("the keys stay as they were: their file cannot be used", zap.String("setting", f.setting), zap.Error(err))
		k.audit.Info("keys_reload_failed", zap.String("outcome", "failed"), zap.String("reason", err.Error()))
	}
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
	var faulty []string
	for _, f := range k.files {
		if k.faults[f.setting] != nil {
			faulty = append(faulty, f.setting)
		}
	}
	if len(faulty) > 0 {
		return health.Warning("What " + strings.Join(faulty, " and ") + " names cannot be used, the last good keys are: see the log.")
	}
	if all := k.All(); len(all) > 0 && !slices.ContainsFunc(all, func(key *api.Key) bool {
		return key.Expires.IsZero() || time.Now().Before(key.Expires)
	}) {
		return health.Warning("All keys have expired: nobody is let in.")
	}
	return nil
}
