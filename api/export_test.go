package api

import "time"

// SetTimeouts says how long a header, and a whole request, may take to come. It is for before Serve.
func (s *Server) SetTimeouts(header, request time.Duration) {
	s.http.ReadHeaderTimeout, s.http.ReadTimeout = header, request
}
