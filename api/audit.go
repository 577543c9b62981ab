package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
)

// audited does what an administrative request asks for, and writes down who asked, for what, and what became of it: in one
// line, also when the key may not or the handler panics. What a request holds besides its path is not written.
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
		fields := []zap.Field{
			zap.String("route", c.Request().Method+" "+c.Path()), zap.String("path", bounded(c.Request().URL.EscapedPath())),
			zap.Int("status", status), zap.String("outcome", outcome),
			zap.String("request_id", requestID(c)), zap.String("remote", c.RealIP()),
		}
		if key := keyOf(c); key != nil {
			fields = append(fields, zap.String("key", key.ID), zap.String("name", key.Name))
		}
		s.cfg.Audit.Info(action, fields...)
	}()
	err = do()
	if status = c.Response().Status; err != nil && !c.Response().Committed {
		status = problemOf(err).status
	}
	return err
}

// bounded cuts a path whose ids are longer than any that is known.
func bounded(path string) string {
	const longest = 512
	if len(path) > longest {
		return path[:longest] + "…"
	}
	return path
}
