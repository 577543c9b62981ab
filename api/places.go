package api

import (
	"cmp"
	"net/http"
	"sync"
)

// places counts the open streams, in all and of each key.
type places struct {
	mu    sync.Mutex
	open  int
	ofKey map[string]int
}

// takePlace takes the place of a stream, of a key if there is one, or says that there is none left. Who has one must leave it
// once.
func (s *Server) takePlace(key *Key) (leave func(), err error) {
	p := &s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= s.cfg.MaxStreams {
		return nil, tooManyStreams("The hub has as many open streams as it may have. Try again later, or at another hub.")
	}
	if key == nil {
		p.open++
		return func() { p.leave("") }, nil
	}
	if p.ofKey[key.ID] >= cmp.Or(key.MaxStreams, s.cfg.MaxStreamsPerKey) {
		return nil, tooManyStreams("The key has as many open streams as it may have. Try again when one has ended.")
	}
	if p.ofKey == nil {
		p.ofKey = map[string]int{}
	}
	p.open++
	p.ofKey[key.ID]++
	return func() { p.leave(key.ID) }, nil
}

func (p *places) leave(keyID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if keyID == "" {
		return
	}
	if p.ofKey[keyID]--; p.ofKey[keyID] == 0 {
		delete(p.ofKey, keyID)
	}
}

func tooManyStreams(detail string) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: codeTooManyStreams, title: "Too many streams", detail: detail, retryAfter: 5,
	}
}
