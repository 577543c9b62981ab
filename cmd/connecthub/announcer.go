package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/events"
)

// announcer tells everybody that the hub has started, how it is when that changes, and that it stops. Each is published
// once, when Redis is there; of the changes that came while it was not, only the last is told.
type announcer struct {
	publish func(context.Context, events.Message) (events.Receipt, error)
	version string
	log     *zap.Logger

	mu sync.Mutex
	// pending is what is to be told, in this order. A change of health is its last, and takes the place of one before it.
	pending []events.Message
	poked   chan struct{}
	stop    context.CancelFunc
	done    sync.WaitGroup
}

const (
	announceAgain = time.Second
	// farewell bounds how long the hub tries to tell that it stops.
	farewell = time.Second
)

func newAnnouncer(publisher *events.Publisher, version string, log *zap.Logger) *announcer {
	return &announcer{publish: publisher.Publish, version: version, log: log, poked: make(chan struct{}, 1)}
}

// announced is the data of what is announced.
type announced struct {
	Service string `json:"service"`
	Version string `json:"version"`
	// Status and Was are how the hub is and was: pass, warn or fail. Failing names the checks that fail.
	Status  string   `json:"status,omitempty"`
	Was     string   `json:"was,omitempty"`
	Failing []string `json:"failing,omitempty"`
}

// message makes an event for everybody. It has its id and time from now on, so that telling it again tells it once.
func (n *announcer) message(eventType string, data announced) events.Message {
	data.Service, data.Version = "connecthub", n.version
	raw, _ := json.Marshal(data) // Texts are always JSON.
	return events.Message{
		ID: uuid.NewString(), Type: eventType, Channel: events.Global(), Data: raw, Source: "connecthub", Timestamp: time.Now(),
	}
}

// start announces that the hub has started, and goes on until close.
func (n *announcer) start(ctx context.Context) error {
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.enqueue(n.message(events.TypeSystemServiceStarted, announced{}))
	n.done.Go(func() { n.run(ctx) })
	return nil
}

// healthChanged announces that the hub is no longer as it was. It may be called before start, and does no I/O.
func (n *announcer) healthChanged(was, now string, failing []string) {
	n.enqueue(n.message(events.TypeSystemHealthChanged, announced{Was: was, Status: now, Failing: failing}))
}

func (n *announcer) enqueue(m events.Message) {
	n.mu.Lock()
	if last := len(n.pending) - 1; last >= 0 && n.pending[last].Type == m.Type {
		n.pending = n.pending[:last]
	}
	n.pending = append(n.pending, m)
	n.mu.Unlock()
	select {
	case n.poked <- struct{}{}:
	default:
	}
}

// next returns what is to be told first.
func (n *announcer) next() (events.Message, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) == 0 {
		return events.Message{}, false
	}
	return n.pending[0], true
}

// told forgets a message. Another may have taken its place meanwhile.
func (n *announcer) told(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) > 0 && n.pending[0].ID == id {
		n.pending = n.pending[1:]
	}
}

func (n *announcer) run(ctx context.Context) {
	for ctx.Err() == nil {
		m, ok := n.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-n.poked:
			}
			continue
		}
		_, err := n.publish(ctx, m)
		if err == nil || !errors.Is(err, events.ErrUnavailable) {
			if err != nil {
				n.log.Error("an announcement cannot be published", zap.String("type", m.Type), zap.Error(err))
			}
			n.told(m.ID)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(announceAgain):
		}
	}
}

// close announces that the hub stops, if Redis takes that at once. It may be called twice.
func (n *announcer) close() {
	if n.stop == nil {
		return
	}
	n.stop()
	n.stop = nil
	n.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if _, err := n.publish(ctx, n.message(events.TypeSystemServiceStopped, announced{})); err != nil {
		n.log.Debug("that the hub stops could not be announced", zap.Error(err))
	}
}
