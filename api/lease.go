package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/tempdata"
)

// AcquireLease answers POST /v1/users/{user_id}/lease.
func (s *Server) AcquireLease(c echo.Context, userID UserID, params AcquireLeaseParams) error {
	if s.isDraining() {
		return shuttingDown()
	}
	a := ofUser(userID)
	if params.Token != "" {
		return s.renewLease(c, a, &params)
	}
	ctx, done := s.untilDrained(c)
	defer done()
	lease, err := s.deps.Temp.Lease(ctx, a.userID, readTTL(params.TTL), readWait(params.Wait))
	switch {
	case errors.Is(err, context.Canceled):
		return shuttingDown() // Nobody reads it if the caller is gone.
	case err != nil:
		return unsure(a.told(err), "The lease may be held by nobody until its time is over. Try again.")
	}
	return c.JSON(http.StatusCreated, Lease{Token: lease.Token, ExpiresIn: seconds(lease.ExpiresIn)})
}

// untilDrained returns a context for a call that waits. It ends when the caller is gone, who should not get a lease that
// nobody else would have then, and when the server begins to shut down.
func (s *Server) untilDrained(c echo.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.Request().Context())
	go func() {
		select {
		case <-s.draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (s *Server) renewLease(c echo.Context, a *subject, params *AcquireLeaseParams) error {
	if params.Wait != "" {
		a.fail("wait", "must not be given together with token")
	}
	lease, err := s.deps.Temp.RenewLease(toTheEnd(c), a.userID, params.Token, readTTL(params.TTL))
	if errors.Is(err, tempdata.ErrNotFound) || errors.Is(err, tempdata.ErrLeaseHeld) {
		return &problem{
			status: http.StatusConflict, code: codeLeaseLost, title: "The lease was lost",
			detail: "No lease of the user has this token. It has expired, and another caller may have the lease now.",
		}
	}
	if err != nil {
		return a.told(err)
	}
	return c.JSON(http.StatusOK, Lease{Token: lease.Token, ExpiresIn: seconds(lease.ExpiresIn)})
}

// readWait reads whole seconds, of which there may be none.
func readWait(text string) time.Duration {
	if text == "" || text == "0" {
		return 0
	}
	return time.Duration(readCount(text, 0, int(tempdata.MaxLeaseWait/time.Second))) * time.Second
}

// ReleaseLease answers DELETE /v1/users/{user_id}/lease.
func (s *Server) ReleaseLease(c echo.Context, userID UserID, params ReleaseLeaseParams) error {
	a := ofUser(userID)
	err := s.deps.Temp.ReleaseLease(toTheEnd(c), a.userID, params.Token)
	if errors.Is(err, tempdata.ErrLeaseHeld) {
		err = tempdata.ErrNotFound
	}
	if err != nil {
		return notFoundAs(err, codeLeaseNotFound, "The lease is not yours",
			"No lease of the user has this token. It was released before, or has expired.")
	}
	return c.JSON(http.StatusOK, LeaseGone{Released: true})
}
