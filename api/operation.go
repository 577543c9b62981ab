package api

import (
	_ "embed"
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
	return s.answerHealth(c, health.Report{Status: health.Pass})
}

// GetHealth answers GET /health.
func (s *Server) GetHealth(c echo.Context) error {
	return s.answerHealth(c, s.deps.Health.Report(c.Request().Context()))
}

// GetReadiness answers GET /health/ready: can the hub accept events?
func (s *Server) GetReadiness(c echo.Context) error {
	report := s.deps.Ready.Report(c.Request().Context())
	if s.isDraining() {
		report = health.Report{Status: health.Fail, Results: []health.Result{
			{Name: "shutdown", Component: "component", Status: health.Fail, Output: "The hub is shutting down.", At: time.Now()},
		}}
	}
	return s.answerHealth(c, report)
}

func (s *Server) answerHealth(c echo.Context, report health.Report) error {
	body := Health{
		Status: HealthStatus(report.Status), Version: s.cfg.Version, Checks: make(map[string][]HealthCheck, len(report.Results)),
	}
	for _, r := range report.Results {
		body.Checks[r.Name] = []HealthCheck{{
			ComponentType: r.Component, Status: HealthStatus(r.Status), Output: r.Output,
			Time: r.At.UTC().Format(time.RFC3339Nano), ObservedValue: float64(r.Took.Microseconds()) / 1000, ObservedUnit: "ms",
		}}
	}
	status := http.StatusOK
	if report.Status == health.Fail {
		status = http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderContentType, "application/health+json")
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

// ResetStats answers POST /stats/reset.
func (s *Server) ResetStats(c echo.Context) error {
	return c.JSON(http.StatusOK, s.deps.ResetStats())
}

// GetStats answers GET /stats.
func (s *Server) GetStats(c echo.Context) error {
	return c.JSON(http.StatusOK, s.deps.Stats())
}
