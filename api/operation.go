package api

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/health"
)

//go:embed openapi.yaml
var contract []byte

//go:embed docs.html
var docsPage []byte

// GetOpenAPI answers GET /openapi.yaml.
func (s *Server) GetOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", contract)
}

// GetDocs answers GET /docs.
func (s *Server) GetDocs(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	return c.HTMLBlob(http.StatusOK, docsPage)
}

// GetLiveness answers GET /health/live: the process answers, whatever else is wrong.
func (s *Server) GetLiveness(c echo.Context) error {
	return c.Blob(http.StatusOK, healthJSON, s.live)
}

// alive is the body of GET /health/live: always the same, so that a probe is answered at once whatever else goes on.
func alive(version string) []byte {
	body, _ := json.Marshal(Health{Status: HealthStatusPass, Version: version, Checks: map[string][]HealthCheck{}}) // Texts are always JSON.
	return append(body, '\n')
}

// GetHealth answers GET /health.
func (s *Server) GetHealth(c echo.Context) error {
	return s.answerHealth(c, s.deps.Health.Report(c.Request().Context()))
}

// GetReadiness answers GET /health/ready: can the hub accept events?
func (s *Server) GetReadiness(c echo.Context) error {
	report := s.deps.Ready.Report(c.Request().Context())
	if s.leaving.Load() || s.isDraining() {
		report = health.Report{Status: health.Fail, Results: []health.Result{
			{Name: "shutdown", Component: "component", Status: health.Fail, Output: "The hub is shutting down.", At: time.Now()},
		}}
	}
	return s.answerHealth(c, report)
}

// healthJSON is the media type of draft-inadarei-api-health-check.
const healthJSON = "application/health+json"

// timestamp writes a time, and nothing for none.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (s *Server) answerHealth(c echo.Context, report health.Report) error {
	body := Health{
		Status: HealthStatus(report.Status), Version: s.cfg.Version, Checks: make(map[string][]HealthCheck, len(report.Results)),
	}
	for _, r := range report.Results {
		body.Checks[r.Name] = []HealthCheck{{
			ComponentType: r.Component, Status: HealthStatus(r.Status), Output: r.Output,
			Time: timestamp(r.At), ObservedValue: float64(r.Took.Microseconds()) / 1000, ObservedUnit: "ms",
			Since: timestamp(r.Since), LastError: r.LastError, LastErrorAt: timestamp(r.LastErrorAt),
		}}
	}
	status := http.StatusOK
	if report.Status == health.Fail {
		status = http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderContentType, healthJSON)
	c.Response().WriteHeader(status)
	return c.Echo().JSONSerializer.Serialize(c, body, "")
}

// GetStartup answers GET /health/startup.
func (s *Server) GetStartup(c echo.Context) error {
	report := health.Report{Status: health.Pass}
	if s.deps.Started != nil && !s.deps.Started() {
		report = health.Report{Status: health.Fail, Results: []health.Result{
			{Name: "startup", Component: "component", Status: health.Fail, Output: "The hub is starting.", At: time.Now()},
		}}
	}
	return s.answerHealth(c, report)
}

// HeadHealth answers HEAD /health. Of this and the next three, package http leaves out the body.
func (s *Server) HeadHealth(c echo.Context) error { return s.GetHealth(c) }

// HeadLiveness answers HEAD /health/live.
func (s *Server) HeadLiveness(c echo.Context) error { return s.GetLiveness(c) }

// HeadReadiness answers HEAD /health/ready.
func (s *Server) HeadReadiness(c echo.Context) error { return s.GetReadiness(c) }

// HeadStartup answers HEAD /health/startup.
func (s *Server) HeadStartup(c echo.Context) error { return s.GetStartup(c) }

// ResetStats answers POST /stats/reset.
func (s *Server) ResetStats(c echo.Context) error {
	return c.JSON(http.StatusOK, s.deps.ResetStats())
}

// GetStats answers GET /stats.
func (s *Server) GetStats(c echo.Context) error {
	return c.JSON(http.StatusOK, s.deps.Stats())
}
