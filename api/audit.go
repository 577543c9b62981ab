package api

import (
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
)

// audited does what an administrative request asks for, and writes down who asked, for what, and what became of it: in one
// line, also when the key may not or the handler panics. What a request holds besides its path is not written. Of requests
// that are refused there are not more lines than refusals lets pass.
func (s *Server) audited(c echo.Context, action string, do func() error) (err error) {
	status := http.StatusInternalServerError
	defer func() {
		outcome := "done"
		switch {
		case status >= http.StatusInternalServerError:
			outcome = "failed"
		case status >= http.StatusBadRequest:
			outcome = "refused"
		}
		var id, name string
		if key := keyOf(c); key != nil {
			id, name = key.ID, key.Name
		}
		leftOut, ok := s.refusals.pass(refusal{id, action}, outcome == "refused", time.Now())
		if !ok {
			return
		}
		fields := []zap.Field{
			zap.String("route", c.Request().Method+" "+c.Path()), zap.String("path", bounded(c.Request().URL.EscapedPath())),
			zap.Int("status", status), zap.String("outcome", outcome),
			zap.String("request_id", requestID(c)), zap.String("remote", c.RealIP()),
		}
		if id != "" {
			fields = append(fields, zap.String("key", id), zap.String("name", name))
		}
		if leftOut > 0 {
			fields = append(fields, zap.Int("left_out", leftOut))
		}
		s.cfg.Audit.Info(action, fields...)
	}()
	err = do()
	if status = c.Response().Status; err != nil && !c.Response().Committed {
		status = problemOf(err).status
	}
	return err
}

// refusedLines is how many lines of refused requests of one key and one action are written in a second: a key without rights
// could fill the disk with them.
const refusedLines = 10

// refusal is who was refused what.
type refusal struct{ key, action string }

// refusals count the refused requests of the last second, of each key and action. The zero one is ready to use. There are no
// more of them than there were keys and actions.
type refusals struct {
	mu sync.Mutex
	of map[refusal]*refusedOf
}

// refusedOf are those of one key and action: when the second began, how many were written in it, and how many left out since the
// last line.
type refusedOf struct {
	since            time.Time
	written, leftOut int
}

// pass reports whether a line is to be written, which that of a request is which was not refused, and how many of that key and
// action were left out before.
func (r *refusals) pass(what refusal, isRefused bool, now time.Time) (leftOut int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.of[what]
	if n == nil {
		if !isRefused {
			return 0, true
		}
		n = &refusedOf{since: now}
		if r.of == nil {
			r.of = make(map[refusal]*refusedOf)
		}
		r.of[what] = n
	}
	if now.Sub(n.since) >= time.Second {
		n.since, n.written = now, 0
	}
	if isRefused {
		if n.written == refusedLines {
			n.leftOut++
			return 0, false
		}
		n.written++
	}
	leftOut, n.leftOut = n.leftOut, 0
	return leftOut, true
}

// bounded cuts a path whose ids are longer than any that is known.
func bounded(path string) string {
	const longest = 512
	if len(path) > longest {
		return path[:longest] + "…"
	}
	return path
}
