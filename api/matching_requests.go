package api

import (
	"cmp"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/matching"
)

// RequestMatching answers POST /v1/matching/requests.
func (s *Server) RequestMatching(c echo.Context, params RequestMatchingParams) error {
	terms, body, err := readMatching(c, params.IdempotencyKey)
	if err != nil {
		return err
	}
	status, err := s.deps.MatchingJobs.Request(toTheEnd(c), terms, body)
	if err != nil {
		return err
	}
	return answerAccepted(c, &status)
}

// answerAccepted says where to see what becomes of a request. Its id needs no escaping in a path.
func answerAccepted(c echo.Context, status *matching.Status) error {
	matchingHeader(c, false, status.Repeated)
	c.Response().Header()[echo.HeaderLocation] = []string{"/v1/matching/requests/" + status.RequestID}
	return answerAny(c, http.StatusAccepted, status)
}

// GetMatchingRequest answers GET /v1/matching/requests/{request_id}.
func (s *Server) GetMatchingRequest(c echo.Context, id MatchingRequestID) error {
	status, err := s.deps.MatchingJobs.Get(toTheEnd(c), id)
	if err != nil {
		return err
	}
	return answerAny(c, http.StatusOK, &status)
}

// ListMatchingRequests answers GET /v1/matching/requests.
func (s *Server) ListMatchingRequests(c echo.Context, params ListMatchingRequestsParams) error {
	state := matching.State(cmp.Or(params.State, string(matching.Failed)))
	page, err := s.deps.MatchingJobs.List(toTheEnd(c), state, params.Cursor, readLimit(params.Limit))
	if err != nil {
		return err
	}
	return answerAny(c, http.StatusOK, struct {
		Requests []matching.Status `json:"requests"`
		Next     *string           `json:"next_cursor"`
	}{page.Requests, nextCursor(page.Next)})
}

// RetryMatchingRequest answers POST /v1/matching/requests/{request_id}/retry.
func (s *Server) RetryMatchingRequest(c echo.Context, id MatchingRequestID) error {
	status, err := s.deps.MatchingJobs.Retry(toTheEnd(c), id)
	if err != nil {
		return err
	}
	return answerAccepted(c, &status)
}
