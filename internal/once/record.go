package once

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

//nolint:gochecknoglobals // Constants, but for the language.
var (
	//go:embed take.lua
	takeSource string
	//go:embed store.lua
	storeSource string
	//go:embed free.lua
	freeSource string

	takeScript  = redis.NewScript(takeSource)
	storeScript = redis.NewScript(storeSource)
	freeScript  = redis.NewScript(freeSource)
)

// What the scripts return if it is no value.
const (
	granted = "+"
	busy    = "?"
	reused  = "!"
)

// record is the Redis key of a key's record.
func (o *Once) record(key string) string { return o.cfg.Prefix + ":" + hash(key) }

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// take asks for a record. It returns true when this process has it now, or the value that is kept, or neither when another
// process has it.
func (o *Once) take(ctx context.Context, f *flight) (taken bool, kept []byte, err error) {
	reply, err := o.run(ctx, takeScript, f.record, f.fingerprint, f.owner, o.cfg.Lease.Milliseconds())
	switch {
	case err != nil:
		return false, nil, fmt.Errorf("once: asking for a record: %w", err)
	case reply == granted:
		return true, nil, nil
	case reply == busy:
		return false, nil, nil
	case reply == reused:
		return false, nil, ErrReused
	}
	kept, err = o.packer.Unpack(reply)
	return false, kept, err
}

// store keeps a value. It returns the one that is kept instead, if there is one.
func (o *Once) store(ctx context.Context, f *flight, encoded []byte) (other []byte, err error) {
	reply, err := o.run(ctx, storeScript, f.record, f.fingerprint, encoded, f.keep.Milliseconds())
	switch {
	case err != nil:
		return nil, fmt.Errorf("storing a value: %w", err)
	case reply == granted:
		return nil, nil
	case reply == reused:
		return nil, errors.New("the key was used for something else after the lease")
	}
	return o.packer.Unpack(reply)
}

// free gives a record back, unless another flight has it by now.
func (o *Once) free(ctx context.Context, record, owner string) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	return freeScript.Run(ctx, o.cfg.Redis, []string{record}, owner).Err()
}

// run runs a script that returns text.
func (o *Once) run(ctx context.Context, script *redis.Script, record string, args ...any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	reply, err := script.Run(ctx, o.cfg.Redis, []string{record}, args...).Text()
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return "", errors.New("the key holds something else") // Waiting will not help.
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return reply, nil
}
