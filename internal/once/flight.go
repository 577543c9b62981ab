package once

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// flight is what all callers in this process share who ask for a key at a time.
type flight struct {
	record, fingerprint, owner string
	keep                       time.Duration
	do                         func(context.Context) ([]byte, error)

	// Guarded by Once.mu: the callers who wait, and whether the flight only waits for another process, in which case it ends
	// when they have left.
	callers int
	idle    bool
	left    chan struct{}

	// Set before done is closed.
	value    []byte
	repeated bool
	err      error
	done     chan struct{}
}

// The pauses between two looks at a key that another process has.
const (
	shortestPause = 10 * time.Millisecond
	longestPause  = 250 * time.Millisecond
)

var (
	errLeft     = errors.New("once: nobody waits")
	errNoReturn = errors.New("once: do did not return")
)

// board joins the flight of a record, or makes one.
func (o *Once) board(
	ctx context.Context, record, fingerprint string, keep time.Duration, do func(context.Context) ([]byte, error),
) (f *flight, joined bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, false, ErrClosed
	}
	f, joined = o.flights[record]
	switch {
	case !joined:
		o.flown++
		f = &flight{
			record: record, fingerprint: fingerprint, owner: o.name + "-" + strconv.FormatInt(o.flown, 10), keep: keep, do: do,
			err: errNoReturn, left: make(chan struct{}), done: make(chan struct{}),
		}
		o.flights[record] = f
		o.work.Go(func() { o.fly(context.WithoutCancel(ctx), f) })
	case f.fingerprint != fingerprint:
		return nil, false, ErrReused
	}
	f.callers++
	return f, joined, nil
}

// leave takes a caller off.
func (o *Once) leave(f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.callers--
	if f.callers == 0 && f.idle {
		o.abandon(f)
	}
}

// abandon ends a flight that nobody waits for. mu is held.
func (o *Once) abandon(f *flight) {
	close(f.left)
	delete(o.flights, f.record) // Nobody may join any more.
}

// land lets nobody join any more.
func (o *Once) land(f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flights[f.record] == f {
		delete(o.flights, f.record)
	}
}

// fly gets the value of a record, and hands it to those who wait.
func (o *Once) fly(ctx context.Context, f *flight) {
	var late *unkept
	func() {
		defer close(f.done)
		defer func() {
			if late == nil {
				o.land(f) // Whoever comes after it is done asks Redis.
			}
		}()
		late = o.settle(ctx, f)
	}()
	if late != nil {
		o.storeLate(ctx, f, late)
		o.land(f)
	}
}

// unkept is a value that Redis could not be told, and until when it may be told.
type unkept struct {
	encoded []byte
	until   time.Time
}

// settle sets what a flight hands over. It returns what is still to be stored.
func (o *Once) settle(ctx context.Context, f *flight) *unkept {
	until, kept, err := o.await(ctx, f)
	if errors.Is(err, ErrUnavailable) {
		o.doubt(f, until) // It may have taken the record all the same, or may yet.
	}
	if err != nil || kept != nil {
		f.value, f.repeated, f.err = kept, true, err
		return nil
	}
	value, err := o.call(ctx, f, until)
	if err == nil && len(value) > MaxValueSize {
		err = ErrTooLarge
	}
	if err != nil {
		f.err = err
		if o.free(ctx, f.record, f.owner) != nil {
			o.doubt(f, until)
		}
		return nil
	}
	encoded := o.packer.Pack(value)
	other, err := o.store(ctx, f, encoded)
	switch {
	case err == nil && other != nil: // Somebody was quicker, after the lease.
		f.value, f.repeated, f.err = other, true, nil
	case errors.Is(err, ErrUnavailable):
		f.value, f.err = value, fmt.Errorf("%w: %w", ErrNotKept, err)
		return &unkept{encoded, until}
	case err != nil:
		f.value, f.err = value, fmt.Errorf("%w: %w", ErrNotKept, err)
	default:
		f.value, f.err = value, nil
	}
	return nil
}

// await takes the record, and returns until when it may be kept, or returns its value.
func (o *Once) await(ctx context.Context, f *flight) (until time.Time, kept []byte, err error) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		until = time.Now().Add(o.cfg.Lease)
		taken, kept, err := o.take(ctx, f)
		if taken || kept != nil || err != nil {
			return until, kept, err
		}
		if err := o.idle(f, pause); err != nil {
			return time.Time{}, nil, err
		}
	}
}

// idle waits for a while, and returns an error when nobody waits for the flight any more, or on Close.
func (o *Once) idle(f *flight, pause time.Duration) error {
	o.mu.Lock()
	f.idle = true
	if f.callers == 0 {
		o.abandon(f)
	}
	o.mu.Unlock()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.left:
	case <-o.closing:
		return ErrClosed
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f.idle = false
	if f.callers == 0 { // It may have been abandoned as the pause ended.
		return errLeft
	}
	return nil
}

// call runs do. What it panics with is not told: it may be what was asked for.
func (o *Once) call(ctx context.Context, f *flight, until time.Time) (value []byte, err error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	o.work.Go(func() {
		select {
		case <-o.cut:
			cancel()
		case <-ctx.Done():
		}
	})
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, fmt.Errorf("once: do panicked with a %T", p)
			o.cfg.Logger.Error("what is to be done once panicked", zap.StackSkip("stack", 2))
		}
	}()
	value, err = f.do(ctx)
	if err == nil && value == nil {
		value = []byte{} // As it comes back from Redis.
	}
	return value, err
}

// storeLate stores a value when Redis is back, until the lease ends: then another may have begun.
func (o *Once) storeLate(ctx context.Context, f *flight, late *unkept) {
	end := time.NewTimer(time.Until(late.until))
	defer end.Stop()
	again := time.NewTicker(longestPause)
	defer again.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-o.closing:
			return
		case <-again.C:
		}
		if _, err := o.store(ctx, f, late.encoded); !errors.Is(err, ErrUnavailable) {
			return
		}
	}
}
