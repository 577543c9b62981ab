package events

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
)

// Log reads what the channels' logs hold. It is safe for concurrent use and has nothing to close.
type Log struct {
	rdb     redis.UniversalClient
	cfg     Config
	keys    keyspace
	flights singleflight.Group
}

// NewLog makes a reader of the logs. The client stays the caller's to close.
func NewLog(rdb redis.UniversalClient, cfg Config) (*Log, error) {
	cfg, keys, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	return &Log{rdb: rdb, cfg: cfg, keys: keys}, nil
}

// MaxPage bounds the events one read returns.
const MaxPage = 1000

// Query selects a page of a channel's log.
type Query struct {
	// Channel is whose log is read.
	Channel Channel
	// After is where the page begins; that event itself is left out. Zero: the beginning, or the end when Reverse.
	After Offset
	// Limit is the most events to return, 1 to MaxPage; what lies outside is taken as the nearest of the two.
	Limit int
	// Reverse reads from newer to older; After then means before.
	Reverse bool
}

// Page is one page of a log.
type Page struct {
	// Records are in the order asked for. They can be fewer than Limit although there are more: see Next.
	Records []*Record
	// Next goes into Query.After for the page after this one; zero when there is none now.
	Next Offset
}

// Read returns one page. A channel without a log gives an empty page. It returns ErrUnavailable when Redis did not
// answer within Config.Timeout.
func (l *Log) Read(ctx context.Context, q Query) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	key, limit := l.keys.log(q.Channel), min(max(q.Limit, 1), MaxPage)
	count := int64(limit) + 1 // One more tells whether there is a next page.
	var cmd *redis.XMessageSliceCmd
	switch {
	case q.Reverse && q.After.IsZero():
		cmd = l.rdb.XRevRangeN(ctx, key, "+", "-", count)
	case q.Reverse:
		cmd = l.rdb.XRevRangeN(ctx, key, "("+q.After.entryID(), "-", count)
	default:
		cmd = l.rdb.XRangeN(ctx, key, exclusive(q.After), "+", count)
	}
	entries, err := cmd.Result()
	if err != nil {
		return Page{}, fmt.Errorf("%w: reading the log of %s: %w", ErrUnavailable, q.Channel.scope, err)
	}
	var page Page
	if len(entries) > limit {
		entries = entries[:limit]
		if page.Next, err = ParseOffset(entries[limit-1].ID); err != nil {
			return Page{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	page.Records = l.records(q.Channel, entries)
	return page, nil
}

// exclusive is o as the start of a range that leaves o itself out. Redis refuses to leave out the greatest offset,
// which no entry has.
func exclusive(o Offset) string {
	switch {
	case o.IsZero():
		return "-"
	case o.ms == math.MaxUint64 && o.isMoment():
		return "+"
	}
	return "(" + o.entryID()
}

// records turns entries into records. An entry that is not the hub's is left out.
func (l *Log) records(channel Channel, entries []redis.XMessage) []*Record {
	records := make([]*Record, 0, len(entries))
	for _, entry := range entries {
		envelope, _ := entry.Values["e"].(string)
		typ, ok := envelopeType(envelope)
		offset, err := ParseOffset(entry.ID)
		if !ok || err != nil {
			continue
		}
		records = append(records, &Record{
			Channel: channel, Offset: offset, Type: typ, JSON: withOffset(envelope, entry.ID),
		})
	}
	return records
}

// ends returns for each channel the position behind everything logged so far. One round trip.
func (l *Log) ends(ctx context.Context, channels []Channel) ([]Offset, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	pipe := l.rdb.Pipeline()
	clock := pipe.Time(ctx) // Before the rest: what is logged after it was missing has no smaller time.
	infos := make([]*redis.XInfoStreamCmd, len(channels))
	for i, ch := range channels {
		infos[i] = pipe.XInfoStream(ctx, l.keys.log(ch))
	}
	_, _ = pipe.Exec(ctx) // Every command carries its own error.
	now, err := clock.Result()
	ends := make([]Offset, len(channels))
	for i := range infos {
		info, infoErr := infos[i].Result()
		switch {
		case infoErr == nil:
			ends[i], err = ParseOffset(info.LastGeneratedID)
		case redis.HasErrorPrefix(infoErr, "no such key"):
			ends[i] = beforeNow(now)
		default:
			err = infoErr
		}
		if err != nil {
			return nil, fmt.Errorf("%w: asking for the ends of the logs: %w", ErrUnavailable, err)
		}
	}
	return ends, err
}

// beforeNow is the position in a log that does not exist now: before whatever will be logged, be it in this millisecond.
func beforeNow(now time.Time) Offset { return OffsetAt(now.Add(-time.Millisecond)) }

// stretch is what a log holds after a position.
type stretch struct {
	records []*Record
	// more is true when the log holds more after records.
	more bool
	// lost is true when the log does not reach back to the position, so that events may be missing before records.
	lost bool
	// from is where the reader stands before records: the position asked for or, when what followed it is lost or
	// nobody's event, one behind that.
	from Offset
}

// catchUpPage is how many records a stream that is behind reads at a time.
const catchUpPage = 256

// after returns what the log holds after a position, and whether anything is missing in between. Streams that lost the
// same connection are at the same place and share one read: epoch numbers the resubscription, and no read is shared that
// may have begun before it. Epoch 0 is never shared.
func (l *Log) after(ctx context.Context, channel Channel, from Offset, epoch uint64) (stretch, error) {
	if epoch == 0 {
		return l.readAfter(ctx, channel, from)
	}
	flight := l.flights.DoChan(fmt.Sprint(channel, from, epoch), func() (any, error) {
		return l.readAfter(context.WithoutCancel(ctx), channel, from)
	})
	select {
	case result := <-flight:
		s, _ := result.Val.(stretch)
		return s, result.Err
	case <-ctx.Done():
		return stretch{}, ctx.Err()
	}
}

func (l *Log) readAfter(ctx context.Context, channel Channel, from Offset) (stretch, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	key := l.keys.log(channel)
	tx := l.rdb.TxPipeline() // One moment: nothing may be trimmed between the questions.
	page := tx.XRangeN(ctx, key, from.entryID(), "+", catchUpPage+1)
	first := tx.XRangeN(ctx, key, "-", "+", 1)
	state := tx.XInfoStream(ctx, key)
	clock := tx.Time(ctx)
	_, _ = tx.Exec(ctx) // Every command carries its own error.

	info, err := state.Result()
	missing := redis.HasErrorPrefix(err, "no such key")
	if err != nil && !missing {
		return stretch{}, fmt.Errorf("%w: reading the log of %s: %w", ErrUnavailable, channel.scope, err)
	}
	now, err := clock.Result()
	if err != nil {
		return stretch{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	entries, err := page.Result()
	if err != nil {
		return stretch{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	out := stretch{from: from, more: len(entries) > catchUpPage}
	if len(entries) > 0 && entries[0].ID == from.entryID() {
		entries = entries[1:] // The position itself is there, so all that followed it is.
	} else if out.lost, err = l.lost(channel, from, now, info, first.Val()); err != nil {
		return stretch{}, err
	}
	out.records = l.records(channel, entries)
	switch {
	case len(out.records) > 0:
	case out.lost && missing:
		out.from = beforeNow(now)
	case len(entries) > 0: // All of them nobody's events.
		out.from, err = ParseOffset(entries[len(entries)-1].ID)
	case out.lost: // All that followed was trimmed, or the log was put back to an earlier state.
		out.from, err = ParseOffset(info.LastGeneratedID)
	}
	if err != nil {
		return stretch{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return out, nil
}

// lost reports whether events may be missing after a position that is not in the log. It never says no when one is, with
// one exception: events that Redis itself lost after the position, as a crash may take the last ones it had not saved. It
// says yes too often where only the position itself was trimmed away, or nothing was logged for MaxAge.
func (l *Log) lost(channel Channel, from Offset, now time.Time, info *redis.XInfoStream, first []redis.XMessage) (bool, error) {
	if from.IsZero() {
		return false, nil // Whoever asks for everything takes what is there.
	}
	tooOld := from.Time().Before(now.Add(-l.cfg.retention(channel.scope).MaxAge))
	if info == nil || info.LastGeneratedID == "" { // No log: nothing was logged within MaxAge, or it was deleted.
		return !from.isMoment() || tooOld, nil
	}
	last, err := ParseOffset(info.LastGeneratedID)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !from.isMoment() {
		return last != from, nil // Trimmed, unless nothing came after it; or the log began anew, or lost its end.
	}
	if last.Compare(from) < 0 {
		return false, nil
	}
	if len(first) == 0 {
		return true, nil // Everything was trimmed.
	}
	oldest, err := ParseOffset(first[0].ID)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if oldest.Compare(from) <= 0 {
		return false, nil
	}
	// EntriesAdded is unknown (0) to servers before Redis 7 and to the embedded one; a full log may then have lost some.
	trimmed := info.EntriesAdded > info.Length || info.EntriesAdded == 0 && info.Length >= l.cfg.retention(channel.scope).MaxEntries
	return trimmed || tooOld, nil
}
