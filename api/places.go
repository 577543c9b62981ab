package api

import (
	"cmp"
	"net/http"
	"sync"
)

// places counts the open streams, in all and of each name of keys: the keys of one name are one service's, so that rotation
// gives it no more.
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
	if p.ofKey[key.Name] >= cmp.Or(key.MaxStreams, s.cfg.MaxStreamsPerKey) {
		return nil, tooManyStreams("The key has as many open streams as it may have. Try again when one has ended.")
	}
	if p.ofKey == nil {
		p.ofKey = map[string]int{}
	}
	p.open++
	p.ofKey[key.Name]++
	return func() { p.leave(key.Name) }, nil
}

func (p *places) leave(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if name == "" {
		return
	}
	if p.ofKey[name]--; p.ofKey[name] == 0 {
		delete(p.ofKey, name)
	}
}

func tooManyStreams(detail string) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: codeTooManyStreams, title: "Too many streams", detail: detail, retryAfter: 5,
	}
}
