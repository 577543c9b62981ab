package api

import "time"

// SetTimeouts says how long a header, and a whole request, may take to come. It is for before Serve.
func (s *Server) SetTimeouts(header, request time.Duration) {
	s.http.ReadHeaderTimeout, s.http.ReadTimeout = header, request
}

// SetClock says what time it is for keys that expire. It is for before Changed, and before the keys are used.
func (k *Keys) SetClock(clock func() time.Time) {
	k.replacing.Lock()
	defer k.replacing.Unlock()
	k.clock = clock
}

// Changed returns what is closed when the streams are to look whether their keys are still there.
func (k *Keys) Changed() <-chan struct{} { return k.now.Load().changed }

// Find returns the key of a token as a request has it found.
func (k *Keys) Find(token string) *Key { return k.find(token) }
