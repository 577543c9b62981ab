package tempdata

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

//nolint:gochecknoglobals // Constants, but for the language.
var (
	//go:embed lease.lua
	leaseSource string
	//go:embed release.lua
	releaseSource string

	leaseScript   = redis.NewScript(leaseSource)
	releaseScript = redis.NewScript(releaseSource)
)

// leasePoll is how often a lease is asked for that is waited for.
const leasePoll = 25 * time.Millisecond

// Lease gives the caller a user's lease, as long as nobody else has it: until it is released, or for ttl (MinLease to
// MaxLease; default DefaultLease). It waits for it at most wait (0 to MaxLeaseWait), among others who wait in no order. It
// returns InvalidError, LeaseHeldError, ErrUnavailable, as a lease is never kept in memory, where nobody could rely on it, or
// the error of ctx, after which nobody may have the lease until its time is over.
func (s *Store) Lease(ctx context.Context, userID int64, ttl, wait time.Duration) (Lease, error) {
	var wrong problems
	ttl = s.checkLease(&wrong, userID, ttl)
	wrong.add(wait >= 0 && wait <= MaxLeaseWait, "wait", "must be a whole number of seconds from 0 to 10")
	if err := wrong.err(); err != nil {
		return Lease{}, err
	}
	token := uuid.NewString()
	enough := time.After(wait)
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for {
		left, err := s.lease(ctx, userID, token, ttl, false)
		if err != nil {
			return Lease{}, err
		}
		if left == 0 {
			s.count.leased.Add(1)
			return Lease{Token: token, ExpiresIn: ttl}, nil
		}
		if wait <= 0 {
			return Lease{}, &LeaseHeldError{left}
		}
		select {
		case <-enough:
			return Lease{}, &LeaseHeldError{left}
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// RenewLease lets a lease last for ttl from now on. It returns InvalidError, ErrLeaseHeld when another has it by now,
// ErrNotFound when it has expired, or ErrUnavailable.
func (s *Store) RenewLease(ctx context.Context, userID int64, token string, ttl time.Duration) (Lease, error) {
	var wrong problems
	ttl = s.checkLease(&wrong, userID, ttl)
	checkToken(&wrong, token)
	if err := wrong.err(); err != nil {
		return Lease{}, err
	}
	switch left, err := s.lease(ctx, userID, token, ttl, true); {
	case err != nil:
		return Lease{}, err
	case left < 0:
		return Lease{}, ErrNotFound
	case left > 0:
		return Lease{}, &LeaseHeldError{left}
	}
	return Lease{Token: token, ExpiresIn: ttl}, nil
}

// ReleaseLease gives a lease back. It returns InvalidError, ErrNotFound when it has expired, or ErrUnavailable.
func (s *Store) ReleaseLease(ctx context.Context, userID int64, token string) error {
	var wrong problems
	wrong.add(userID > 0, "user_id", wantUserID)
	checkToken(&wrong, token)
	if err := wrong.err(); err != nil {
		return err
	}
	if s.outage.on() {
		return ErrNotDone
	}
	inTime, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	switch n, err := releaseScript.Run(inTime, s.cfg.Redis, []string{s.leaseKey(userID)}, token).Int(); {
	case err != nil:
		return s.unavailable(ctx, "releasing a lease", err)
	case n == 0:
		return ErrNotFound
	}
	return nil
}

func (s *Store) leaseKey(userID int64) string {
	return s.cfg.Prefix + ":lease:" + strconv.FormatInt(userID, 10)
}

func (s *Store) checkLease(p *problems, userID int64, ttl time.Duration) time.Duration {
	p.add(userID > 0, "user_id", wantUserID)
	if ttl == 0 {
		ttl = DefaultLease
	}
	p.add(ttl >= MinLease && ttl <= MaxLease, "ttl", fmt.Sprintf("must be a whole number of seconds from 1 to %.0f", MaxLease.Seconds()))
	return ttl
}

func checkToken(p *problems, token string) {
	_, err := uuid.Parse(token)
	p.add(err == nil && len(token) == 36, "token", "must be the token that the lease was given with")
}

// lease returns 0 when the token has the lease, and else what lease.lua does.
func (s *Store) lease(ctx context.Context, userID int64, token string, ttl time.Duration, renew bool) (time.Duration, error) {
	if s.outage.on() {
		return 0, ErrNotDone
	}
	inTime, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	only := "0"
	if renew {
		only = "1"
	}
	left, err := leaseScript.Run(inTime, s.cfg.Redis, []string{s.leaseKey(userID)}, token, ttl.Milliseconds(), only).Int64()
	if err != nil {
		return 0, s.unavailable(ctx, "taking a lease", err)
	}
	return time.Duration(left) * time.Millisecond, nil
}
