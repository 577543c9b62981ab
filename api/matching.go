package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
)

// MatchSecretCoffee answers POST /v1/matching/secret-coffee.
func (s *Server) MatchSecretCoffee(c echo.Context, params MatchSecretCoffeeParams) error {
	return matchPairs(c, params.IdempotencyKey, s.deps.Matching.SecretCoffee)
}

// MatchSecretCoffeeFromAPI answers POST /v1/matching/secret-coffee/from-api.
func (s *Server) MatchSecretCoffeeFromAPI(c echo.Context, params MatchSecretCoffeeFromAPIParams) error {
	return matchPairs(c, params.IdempotencyKey, s.deps.Matching.FromAPI)
}

// MatchCoffee answers POST /v1/matching/coffee/simple.
func (s *Server) MatchCoffee(c echo.Context, params MatchCoffeeParams) error {
	return matchPairs(c, params.IdempotencyKey, s.deps.Matching.Simple)
}

// MatchCoffeeByInterest answers POST /v1/matching/coffee/interest.
func (s *Server) MatchCoffeeByInterest(c echo.Context, params MatchCoffeeByInterestParams) error {
	return matchPairs(c, params.IdempotencyKey, func(ctx context.Context, terms matching.Terms, body []byte) (matching.Pairs, error) {
		return s.deps.Matching.Interest(ctx, terms, params.Interest, body)
	})
}

// matchPairs answers with the pairs that find returns. A caller who has left is not worth the service's time, unless it named a
// key: then the work goes on, see matching.Matcher.
func matchPairs(c echo.Context, key string, find func(context.Context, matching.Terms, []byte) (matching.Pairs, error)) error {
	terms, body, err := readMatching(c, key)
	if err != nil {
		return err
	}
	ctx, cancel := matchingContext(c)
	defer cancel()
	pairs, err := find(ctx, terms, body)
	if err != nil {
		return err
	}
	return answerMatched(c, &pairs, &pairs.Origin)
}

// matchingContext ends when the caller leaves and, with time enough to say so, before the connection's time to write does.
func matchingContext(c echo.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), writeTimeout-2*time.Second)
}

// MakeBracket answers POST /v1/matching/tournament.
func (s *Server) MakeBracket(c echo.Context, params MakeBracketParams) error {
	terms, body, err := readMatching(c, params.IdempotencyKey)
	if err != nil {
		return err
	}
	ctx, cancel := matchingContext(c)
	defer cancel()
	bracket, err := s.deps.Matching.Tournament(ctx, terms, body)
	if err != nil {
		return err
	}
	return answerMatched(c, &bracket, &bracket.Origin)
}

// MakeTeams answers POST /v1/matching/teams.
func (s *Server) MakeTeams(c echo.Context, params MakeTeamsParams) error {
	terms, body, err := readMatching(c, params.IdempotencyKey)
	if err != nil {
		return err
	}
	ctx, cancel := matchingContext(c)
	defer cancel()
	teams, err := s.deps.Matching.Teams(ctx, terms, body)
	if err != nil {
		return err
	}
	return answerMatched(c, &teams, &teams.Origin)
}

// ListAlgorithms answers GET /v1/matching/algorithms.
func (s *Server) ListAlgorithms(c echo.Context) error {
	list, err := s.deps.Matching.Algorithms(c.Request().Context(), callOf(c))
	if err != nil {
		return err
	}
	matchingHeader(c, list.Degraded, false)
	return answerAny(c, http.StatusOK, &list)
}

// readMatching reads what all requests for matching have: a body, which package matching decodes, and perhaps a key. The body
// is not from the pool, as few are so large.
func readMatching(c echo.Context, key string) (matching.Terms, []byte, error) {
	if _, given := c.Request().Header["Idempotency-Key"]; given && !validIdempotencyKey(key) {
		return matching.Terms{}, nil, invalidField("Idempotency-Key", wantIdempotencyKey)
	}
	var body bytes.Buffer
	if err := readUpTo(c, &body, matching.MaxRequestSize); err != nil {
		return matching.Terms{}, nil, err
	}
	return matching.Terms{Call: callOf(c), IdempotencyKey: ownKey(c, key)}, body.Bytes(), nil
}

// callOf is what goes along to the matching service.
func callOf(c echo.Context) javaclient.Call {
	parent, state := traceOf(c)
	return javaclient.Call{RequestID: requestID(c), Traceparent: parent, Tracestate: state}
}

// answerMatched answers with what was matched.
func answerMatched(c echo.Context, answer any, origin *matching.Origin) error {
	matchingHeader(c, origin.Degraded, origin.Repeated)
	return answerAny(c, http.StatusOK, answer)
}

// matchingHeader tells where an answer comes from.
func matchingHeader(c echo.Context, degraded, repeated bool) {
	header := c.Response().Header()
	if degraded {
		header["Degraded"] = []string{string(matching.Fallback)}
	}
	if repeated {
		header["Idempotency-Replayed"] = []string{"true"}
	}
}

// answerAny answers with what encoding/json cannot write: people have members that nobody here knows. Times are written as
// everywhere in the API.
func answerAny(c echo.Context, status int, answer any) error {
	body, err := json.Marshal(answer, json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, t time.Time) error {
		return enc.WriteToken(jsontext.String(events.FormatTimestamp(t)))
	})))
	if err != nil {
		return err
	}
	return answerJSON(c, status, body)
}
