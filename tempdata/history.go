package tempdata

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

func (s *Store) historyKey(conversation string) string {
	return s.cfg.Prefix + ":history:" + conversation
}

// A message is kept as its id, of idSize characters, a space and JSON. An id is a stamp, a dot and something unlike others.
const idSize = 27

func newMessage(at time.Time, data []byte) string {
	raw := make([]byte, idSize+1, idSize+1+len(data))
	copy(raw, stamp(at)+".")
	putDigits(raw[len("1795302262219666."):idSize], rand.Uint64N(nonces), 36) //nolint:gosec // G404: it only has to be unlike others.
	raw[idSize] = ' '
	return string(append(raw, data...))
}

func readMessage(raw string) (Message, error) {
	at, ok := parseStamp(raw)
	if !ok || len(raw) < idSize+2 || raw[idSize] != ' ' {
		return Message{}, fmt.Errorf("%w: a message", ErrUnreadable)
	}
	return Message{ID: raw[:idSize], At: at, Data: []byte(raw[idSize+1:])}, nil
}

// historyMemory is what is known of a history: all of it, or, if it is not whole, its end.
type historyMemory struct {
	store        *Store
	conversation string
	messages     []string
	whole        bool
	expires      time.Time
	maxLen       int
	// had is how many of messages Redis had when it went away, deleted when what it had was deleted.
	had     int
	deleted time.Time
}

func (m *historyMemory) size() int64 {
	size := 200 + len(m.conversation)
	for _, message := range m.messages {
		size += len(message) + 16
	}
	return int64(size)
}

func (m *historyMemory) exists(now time.Time) bool {
	return len(m.messages) > 0 && now.Before(m.expires)
}

// newer compares the last messages.
func (m *historyMemory) newer(theirs string) bool {
	return m.exists(time.Now()) && m.messages[len(m.messages)-1] > theirs
}

func (m *historyMemory) doubt(now time.Time) bool {
	m.had = len(m.messages)
	return m.whole && m.exists(now)
}

func (s *Store) recallHistory(sh *shelf, conversation string) *historyMemory {
	r := sh.find(historySpace, conversation)
	if r == nil {
		return nil
	}
	m, _ := r.memory.(*historyMemory)
	if time.Now().Before(m.expires) {
		return m
	}
	if !r.waits {
		sh.drop(r)
		return nil
	}
	m.messages, m.had, m.whole, m.deleted = nil, 0, true, m.expires
	return m
}

// appendMessages adds to a history.
type appendMessages struct {
	store        *Store
	conversation string
	messages     []string
	maxLen       int
	ttl          time.Duration
	length       int

	reply *redis.Cmd
}

func (o *appendMessages) size() (n int) {
	for _, m := range o.messages {
		n += len(m)
	}
	return n + 128
}

func (o *appendMessages) waits(sh *shelf) bool { return sh.waitsFor(historySpace, o.conversation) }

func (o *appendMessages) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	args := []any{historySpace, o.conversation, o.maxLen, o.ttl.Milliseconds()}
	for _, m := range o.messages {
		args = append(args, m)
	}
	o.reply = pipe.EvalSha(ctx, appendScript.Hash(), []string{o.store.indexKey(historySpace), o.store.listsKey(historySpace), o.store.historyKey(o.conversation)}, args...)
}

func (o *appendMessages) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	length, err := o.reply.Int()
	if err != nil {
		return errReply
	}
	o.length = length
	if sh == nil {
		return nil
	}
	m := &historyMemory{store: o.store, conversation: o.conversation, maxLen: o.maxLen, expires: time.Now().Add(o.ttl)}
	if known := o.store.recallHistory(sh, o.conversation); known != nil {
		m.messages = known.messages
	}
	m.messages = o.added(m.messages)
	m.whole = len(m.messages) == length
	if len(m.messages) > length {
		m.messages, m.whole = m.messages[len(m.messages)-length:], true
	}
	sh.keep(historySpace, o.conversation, m)
	return nil
}

// added returns messages with the new ones, as far as they are kept, in a slice of its own.
func (o *appendMessages) added(messages []string) []string {
	all := append(slices.Clone(messages), o.messages...)
	return all[max(len(all)-o.maxLen, 0):]
}

func (o *appendMessages) local(sh *shelf) error {
	next := &historyMemory{store: o.store, conversation: o.conversation}
	if known := o.store.recallHistory(sh, o.conversation); known != nil {
		*next = *known
		if !sh.find(historySpace, o.conversation).waits {
			next.had = len(known.messages)
		}
	}
	before := len(next.messages) + len(o.messages)
	next.messages = o.added(next.messages)
	next.had = max(next.had-(before-len(next.messages)), 0)
	next.whole = next.whole || len(next.messages) == o.maxLen
	next.maxLen, next.expires = o.maxLen, time.Now().Add(o.ttl)
	if !sh.makeRoom(next.size() + recordSize) {
		return ErrFull
	}
	sh.await(historySpace, o.conversation, next)
	o.length = len(next.messages)
	return nil
}

// readMessages reads the end of a history.
type readMessages struct {
	store        *Store
	conversation string
	limit        int
	messages     []string
	left         time.Duration

	get *redis.StringSliceCmd
	ttl *redis.DurationCmd
}

func (o *readMessages) size() int { return 64 }

func (o *readMessages) waits(sh *shelf) bool { return sh.waitsFor(historySpace, o.conversation) }

func (o *readMessages) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	key := o.store.historyKey(o.conversation)
	o.get = pipe.LRange(ctx, key, -int64(o.limit), -1)
	o.ttl = pipe.PTTL(ctx, key)
}

func (o *readMessages) receive(sh *shelf) error {
	if err := replyError(o.get.Err()); err != nil {
		return err
	}
	o.messages, o.left = o.get.Val(), max(o.ttl.Val(), 0)
	last := ""
	if n := len(o.messages); n > 0 {
		last = o.messages[n-1]
	}
	if err := sh.missing(historySpace, o.conversation, last); err != nil {
		return err
	}
	switch {
	case sh == nil:
	case len(o.messages) == 0:
		sh.forget(historySpace, o.conversation)
	default:
		if known := o.store.recallHistory(sh, o.conversation); known != nil && len(known.messages) > len(o.messages) {
			break // More is known, from this process's own appends.
		}
		sh.keep(historySpace, o.conversation, &historyMemory{
			store: o.store, conversation: o.conversation, messages: o.messages, whole: len(o.messages) < o.limit,
			expires: time.Now().Add(kept(o.ttl.Val())), maxLen: MaxMessages, // Who appends next says how many are kept.
		})
	}
	return nil
}

func (o *readMessages) local(sh *shelf) error {
	m := o.store.recallHistory(sh, o.conversation)
	if m == nil || !m.whole && len(m.messages) < o.limit {
		return ErrUnavailable
	}
	o.messages, o.left = m.messages[max(len(m.messages)-o.limit, 0):], time.Until(m.expires)
	return nil
}

// deleteHistory deletes a history.
type deleteHistory struct {
	store        *Store
	conversation string

	reply *redis.Cmd
}

func (o *deleteHistory) size() int { return 64 }

func (o *deleteHistory) waits(sh *shelf) bool { return sh.waitsFor(historySpace, o.conversation) }

func (o *deleteHistory) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	keys := []string{o.store.indexKey(historySpace), o.store.listsKey(historySpace), o.store.historyKey(o.conversation)}
	o.reply = pipe.EvalSha(ctx, deleteHistoryScript.Hash(), keys, historySpace, o.conversation)
}

func (o *deleteHistory) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	sh.forget(historySpace, o.conversation)
	if n, err := o.reply.Int(); err != nil || n == 0 {
		return ErrNotFound
	}
	return nil
}

func (o *deleteHistory) local(sh *shelf) error {
	if known := o.store.recallHistory(sh, o.conversation); known != nil && known.whole && len(known.messages) == 0 {
		return ErrNotFound
	}
	now := time.Now()
	next := &historyMemory{
		store: o.store, conversation: o.conversation, whole: true, deleted: now, maxLen: DefaultMaxLen, expires: now.Add(historyTTL),
	}
	if !sh.makeRoom(next.size() + recordSize) {
		return ErrFull
	}
	sh.await(historySpace, o.conversation, next)
	return nil
}

// restore returns what puts the history back.
func (m *historyMemory) restore(r *record) restoration { return &restoreHistory{memory: m, record: r} }

// restoreHistory puts back into Redis what was appended while it was away.
type restoreHistory struct {
	memory *historyMemory
	record *record
	reply  *redis.Cmd
}

func (o *restoreHistory) size() int { return int(o.memory.size()) }

func (o *restoreHistory) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	m := o.memory
	deleted := ""
	if !m.deleted.IsZero() {
		deleted = stamp(m.deleted)
	}
	args := []any{historySpace, m.conversation, m.maxLen, max(time.Until(m.expires).Milliseconds(), 1), deleted, m.had}
	for _, message := range m.messages {
		args = append(args, message)
	}
	keys := []string{m.store.indexKey(historySpace), m.store.listsKey(historySpace), m.store.historyKey(m.conversation)}
	o.reply = pipe.EvalSha(ctx, restoreHistoryScript.Hash(), keys, args...)
}

func (o *restoreHistory) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	if o.record.memory != memory(o.memory) {
		return nil
	}
	if o.memory.had < len(o.memory.messages) || !o.memory.deleted.IsZero() {
		o.memory.store.count.restored.Add(1)
	}
	sh.drop(o.record) // What Redis has now is read when it is asked for.
	return nil
}

func (o *restoreHistory) abandon(sh *shelf) { sh.drop(o.record) }

func (o *restoreHistory) local(*shelf) error { return ErrUnavailable }

func (o *restoreHistory) waits(*shelf) bool { return true }

func (s *Store) checkConversation(p *problems, conversation string) {
	p.add(isName(conversation), "conversation_id", wantName)
}

// Append adds messages to a conversation's history and forgets those that are too many, in one step. It returns
// InvalidError, ErrMalformed, ErrTooLarge, ErrUnavailable, after which it may have been done, or ErrFull.
func (s *Store) Append(ctx context.Context, a Append) (Appended, error) {
	var wrong problems
	s.checkConversation(&wrong, a.Conversation)
	wrong.add(len(a.Messages) >= 1 && len(a.Messages) <= MaxMessages, "messages", "must be 1 to 1000 messages")
	if a.MaxLen == 0 {
		a.MaxLen = DefaultMaxLen
	}
	wrong.add(a.MaxLen >= 1 && a.MaxLen <= MaxMessages, "max_len", "must be a whole number from 1 to 1000")
	op := &appendMessages{store: s, conversation: a.Conversation, maxLen: a.MaxLen, ttl: wrong.ttl("ttl", a.TTL, historyTTL)}
	if err := wrong.err(); err != nil {
		return Appended{}, err
	}
	now, total := time.Now(), 0
	for i, message := range a.Messages {
		data, err := compact(message, MaxValueSize)
		if err != nil {
			return Appended{}, fmt.Errorf("messages[%d]: %w", i, err)
		}
		if total += len(data); total > MaxValueSize {
			return Appended{}, fmt.Errorf("%w: the messages have at most %d bytes together", ErrTooLarge, MaxValueSize)
		}
		op.messages = append(op.messages, newMessage(now, data))
	}
	degraded, err := s.do(ctx, historySpace, op, &s.count.appended)
	if err != nil {
		return Appended{}, err
	}
	return Appended{Length: op.length, ExpiresIn: op.ttl, Degraded: degraded}, nil
}

// Messages returns the end of a conversation's history, nothing if there is none. It returns InvalidError, ErrUnreadable or
// ErrUnavailable.
func (s *Store) Messages(ctx context.Context, h History) (Messages, error) {
	var wrong problems
	s.checkConversation(&wrong, h.Conversation)
	wrong.add(h.Limit >= 1 && h.Limit <= MaxMessages, "limit", wantLimit)
	if err := wrong.err(); err != nil {
		return Messages{}, err
	}
	op := &readMessages{store: s, conversation: h.Conversation, limit: h.Limit}
	degraded, err := s.do(ctx, historySpace, op, &s.count.reads)
	if err != nil {
		return Messages{}, err
	}
	out := Messages{Messages: make([]Message, len(op.messages)), ExpiresIn: op.left, Degraded: degraded}
	for i, raw := range op.messages {
		if out.Messages[i], err = readMessage(raw); err != nil {
			s.count.unreadable.Add(1)
			return Messages{}, err
		}
	}
	if h.NewestFirst {
		slices.Reverse(out.Messages)
	}
	return out, nil
}

// DeleteHistory deletes a conversation's history. It returns InvalidError, ErrNotFound, ErrUnavailable or ErrFull.
func (s *Store) DeleteHistory(ctx context.Context, conversation string) (Written, error) {
	var wrong problems
	s.checkConversation(&wrong, conversation)
	if err := wrong.err(); err != nil {
		return Written{}, err
	}
	degraded, err := s.do(ctx, historySpace, &deleteHistory{store: s, conversation: conversation}, &s.count.deletes)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Written{}, err
	}
	return Written{Degraded: degraded && err == nil}, err
}
