package tempdata

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Key names a value.
type Key struct {
	// Namespace and Name have 1 to MaxNameSize bytes of A-Z a-z 0-9 _ . : -, but for a user's Namespace, which
	// UserNamespace returns.
	Namespace, Name string
}

// Condition says when a change may be made. The zero Condition is always met. It is checked in the same step as the change.
type Condition struct {
	// Exists demands that there is something (If-Match: *), Absent that there is nothing (If-None-Match: *).
	Exists, Absent bool
	// Tags demands that what there is has one of these entity tags, with their quotes (If-Match).
	Tags []string
}

// Put sets a value.
type Put struct {
	Key
	// Data is any JSON value, of at most MaxValueSize bytes without white space around its parts.
	Data []byte
	// TTL is how long it is kept, MinTTL to MaxTTL. Default: DefaultTTL of its key.
	TTL time.Duration
	// Condition says when it is set.
	Condition Condition
}

// Value is what is kept under a key.
type Value struct {
	// Data is JSON.
	Data []byte
	// Type is what Python calls it: dict, list, tuple, str, int, float, bool or NoneType.
	Type      string
	CreatedAt time.Time
	// ExpiresIn is how long it is kept; 0 when it was written by another program, to be kept for ever.
	ExpiresIn time.Duration
	// ETag is a strong validator, with its quotes. It never comes back once the value was changed or deleted.
	ETag string
	// Degraded says that it came from the memory of this process, as Redis was away.
	Degraded bool
}

// Written tells what became of a change.
type Written struct {
	// ETag is that of what is there now, "" after a deletion.
	ETag      string
	ExpiresIn time.Duration
	// Created says that there was nothing before, as far as is known.
	Created bool
	// Degraded says that it is kept in the memory of this process until Redis is back.
	Degraded bool
}

// Item is one of the values that PutMany sets.
type Item struct {
	Name string
	Data []byte
	TTL  time.Duration
}

// Listed is a name in a list and how long what it names is kept.
type Listed struct {
	Name      string
	ExpiresIn time.Duration
}

// Page is a page of a list.
type Page struct {
	Items []Listed
	// Next is the cursor of the next page, "" when there is none.
	Next string
}

// FormKey names a form.
type FormKey struct {
	// UserID is above 0.
	UserID int64
	// Form is a name as in Key.
	Form string
}

// Form is a form as a whole.
type Form struct {
	// Steps are in the order in which they were first put; those of BotForm, with Config.Django, in which they were last.
	Steps []Step
	// UpdatedAt is when it was changed last.
	UpdatedAt time.Time
	ExpiresIn time.Duration
	ETag      string
	Degraded  bool
}

// Step is one step of a form.
type Step struct {
	Name string
	// Data is JSON.
	Data []byte
}

// StepValue is one step of a form, with what is to be known of the form.
type StepValue struct {
	Step
	// ETag is that of the form.
	ETag      string
	ExpiresIn time.Duration
	Degraded  bool
}

// PutStep sets one step of a form, which need not exist, and leaves the others alone.
type PutStep struct {
	FormKey
	Step
	// TTL is how long the form is kept from now on. Default: an hour.
	TTL time.Duration
	// Condition is about the form.
	Condition Condition
}

// PatchForm changes a form, which need not exist.
type PatchForm struct {
	FormKey
	// Patch is a JSON merge patch (RFC 7396) of {"steps": {name: data}}.
	Patch     []byte
	TTL       time.Duration
	Condition Condition
}

// Submit takes a form out.
type Submit struct {
	FormKey
	Condition Condition
	// IdempotencyKey, if not "", makes the call, repeated within an hour, return the same, whatever there is by now: 1 to 255
	// bytes. Fingerprint, of any size, must be the same then.
	IdempotencyKey, Fingerprint string
	// Publish, if not nil, is called with the form before Submit returns. When it fails the form is put back, unless there
	// is another of its name by then. The call that follows, also after a crash in between, calls it with the same ID, unless
	// the form was changed: what is published under that ID is published once.
	Publish func(Submission) error
	// MaxSize is how many bytes the steps may have together for Publish to take them; 0: any number.
	MaxSize int
}

// Submission is a form that was submitted.
type Submission struct {
	// ID is unlike that of any other submission, a UUID.
	ID string
	Form
	// Duplicate says that this is what an earlier call with the same IdempotencyKey returned.
	Duplicate bool
}

// Append adds messages to a conversation's history.
type Append struct {
	// Conversation is a name as in Key.
	Conversation string
	// Messages are 1 to MaxMessages JSON values, the oldest first, of at most MaxValueSize bytes together.
	Messages [][]byte
	// MaxLen is how many of the history's messages are kept, 1 to MaxMessages. Default: DefaultMaxLen.
	MaxLen int
	// TTL is how long the history is kept from now on. Default: 7 days.
	TTL time.Duration
}

// Appended tells what became of an Append.
type Appended struct {
	// Length is how many messages the history has now.
	Length    int
	ExpiresIn time.Duration
	Degraded  bool
}

// Message is one message of a conversation's history.
type Message struct {
	// ID is unlike that of other messages of its conversation.
	ID string
	// At is when it was appended.
	At   time.Time
	Data []byte
}

// History asks for messages.
type History struct {
	Conversation string
	// NewestFirst turns the order round.
	NewestFirst bool
	// Limit is 1 to MaxMessages.
	Limit int
}

// Messages are the newest Limit messages of a history, in the order asked for.
type Messages struct {
	Messages  []Message
	ExpiresIn time.Duration
	Degraded  bool
}

// Lease is the right of one caller at a time to handle a user's update.
type Lease struct {
	// Token is needed to renew and release it.
	Token     string
	ExpiresIn time.Duration
}

// Count is how many values, forms or histories there are in a namespace.
type Count struct {
	Namespace string
	Keys      int64
}

// Limits of what is taken.
const (
	// MaxNameSize bounds a name, in bytes.
	MaxNameSize = 128
	// MaxValueSize bounds a value, a form and what one Append adds, in bytes of JSON.
	MaxValueSize = 256 << 10
	// MinTTL and MaxTTL bound how long something is kept.
	MinTTL = time.Second
	MaxTTL = 30 * 24 * time.Hour
	// MaxPage bounds a page of a list, MaxBatch what GetMany and PutMany take.
	MaxPage  = 1000
	MaxBatch = 1000
	// MaxSteps bounds the steps of a form.
	MaxSteps = 100
	// MaxMessages bounds a conversation's history, DefaultMaxLen is its length when Append.MaxLen says nothing else.
	MaxMessages   = 1000
	DefaultMaxLen = 200
	// MinLease, DefaultLease and MaxLease are about how long a lease is good, MaxLeaseWait how long one is waited for.
	MinLease     = time.Second
	DefaultLease = 30 * time.Second
	MaxLease     = 5 * time.Minute
	MaxLeaseWait = 10 * time.Second
	// ConversationKey is the name, in a user's namespace, of the state of the user's conversation, as the bot has it.
	ConversationKey = "conversation_state"
	// BotForm is the form that is shared with the bot, whose forms have no names, with Config.Django.
	BotForm = "default"
)

// What goes wrong.
var (
	// ErrNotFound says that there is no such value, form, step, history or lease.
	ErrNotFound = errors.New("tempdata: not found")
	// ErrNoStep is an ErrNotFound: there is a form, but it has no such step.
	ErrNoStep = fmt.Errorf("%w: the form has no such step", ErrNotFound)
	// ErrKeyReused says that an IdempotencyKey came again with another Fingerprint.
	ErrKeyReused = errors.New("tempdata: the idempotency key was used for another submission")
	// ErrUnavailable says that Redis did not answer, so that nothing can be promised: also that something is not there. A
	// change may have been made all the same. The same call may succeed later.
	ErrUnavailable = errors.New("tempdata: Redis is unavailable")
	// ErrNotDone is an ErrUnavailable after which it is certain that nothing was changed.
	ErrNotDone = fmt.Errorf("%w, and nothing was changed", ErrUnavailable)
	// ErrFull says that Redis is away and the memory for what waits for it is full. The same call may succeed later.
	ErrFull = errors.New("tempdata: Redis is unavailable, and the memory for what waits for it is full")
	// ErrMalformed says, in the words after it, why something is no JSON.
	ErrMalformed = errors.New("tempdata: malformed JSON")
	// ErrTooLarge says that a value, a form or a history would be too large.
	ErrTooLarge = errors.New("tempdata: too large")
	// ErrReserved says that a name is not for callers: see CheckNamespace.
	ErrReserved = errors.New("tempdata: reserved")
	// ErrUnreadable says that another program wrote a value that is not decoded here, as it is damaged or would build an
	// object. It may be deleted and written over.
	ErrUnreadable = errors.New("tempdata: unreadable value")
	// ErrLeaseHeld says that another caller has the lease.
	ErrLeaseHeld = errors.New("tempdata: the lease is held")
	// ErrContended says that a form was changed again and again while it was patched. The same call may succeed later.
	ErrContended = errors.New("tempdata: changed by others again and again")
	// ErrClosed says that the Store was closed, or is not started.
	ErrClosed = errors.New("tempdata: closed")
)

// PreconditionError says that a Condition was not met.
type PreconditionError struct {
	// ETag is that of what there is, "" if there is nothing.
	ETag string
}

func (e *PreconditionError) Error() string { return "tempdata: the condition is not met" }

// LeaseHeldError says for how long a lease is held by another caller. It is an ErrLeaseHeld.
type LeaseHeldError struct{ ExpiresIn time.Duration }

func (e *LeaseHeldError) Error() string { return ErrLeaseHeld.Error() }

// Is makes it an ErrLeaseHeld.
func (e *LeaseHeldError) Is(target error) bool { return target == ErrLeaseHeld }

// InvalidError says which parameters of a call are wrong.
type InvalidError struct{ Fields []FieldProblem }

// FieldProblem says what is wrong with one of them: namespace, key, ttl, limit, cursor, user_id, form, step,
// conversation_id, max_len, keys, items[2].key, Idempotency-Key and so on.
type FieldProblem struct{ Field, Problem string }

func (e *InvalidError) Error() string {
	var text strings.Builder
	text.WriteString("tempdata: invalid")
	for i, f := range e.Fields {
		if i > 0 {
			text.WriteByte(';')
		}
		text.WriteString(" " + f.Field + " " + f.Problem)
	}
	return text.String()
}
