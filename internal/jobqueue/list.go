package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxPage bounds a page of jobs.
const MaxPage = 1000

// ErrBadCursor is returned for a text that is no cursor of the list.
var ErrBadCursor = errors.New("jobqueue: bad cursor")

// Page is a part of a list.
type Page struct {
	Jobs []Status
	// Next is the cursor of the next page; "" at the end. It is opaque.
	Next string
}

// The lists in the words of queue.lua.
const (
	listWaiting = "waiting"
	listDead    = "dead"
)

// ListWaiting returns the jobs that are queued or running, in the order in which they are due or their leases end, from the
// first with the cursor "", or else those after the page whose Next the cursor is; at most limit (1 to MaxPage). A job that
// moves while pages are read may be on two of them or on none. It returns ErrInvalid, ErrBadCursor or ErrUnavailable.
func (q *Queue) ListWaiting(ctx context.Context, cursor string, limit int) (Page, error) {
	return q.list(ctx, listWaiting, cursor, limit)
}

// ListDead returns the dead jobs, those buried last first, in pages as ListWaiting does.
func (q *Queue) ListDead(ctx context.Context, cursor string, limit int) (Page, error) {
	return q.list(ctx, listDead, cursor, limit)
}

func (q *Queue) list(ctx context.Context, list, cursor string, limit int) (Page, error) {
	if limit < 1 || limit > MaxPage {
		return Page{}, fmt.Errorf("%w: a limit must be 1 to %d", ErrInvalid, MaxPage)
	}
	score, id, err := parseCursor(list, cursor)
	if err != nil {
		return Page{}, err
	}
	values, err := q.do(ctx, "listing jobs", 2, "list", list, limit, score, id)
	if err != nil {
		return Page{}, err
	}
	var page Page
	if last := values.text(1); last != "" {
		page.Next = list + "." + values.text(0) + "." + last
	}
	for i := range values[2:] {
		status, err := q.status(values.list(2 + i))
		switch {
		case err == nil && (status.State == Dead) == (list == listDead):
			page.Jobs = append(page.Jobs, status)
		case err != nil && !errors.Is(err, ErrNotFound): // It has expired since.
			return Page{}, err
		}
	}
	return page, nil
}

// parseCursor reads a cursor: the name of the list, and the score and the id of the last job, with dots between.
func parseCursor(list, cursor string) (score, id string, err error) {
	if cursor == "" {
		return "", "", nil
	}
	rest, found := strings.CutPrefix(cursor, list+".")
	score, id, _ = strings.Cut(rest, ".")
	if _, err := strconv.ParseUint(score, 10, 63); err != nil || !found || !isID(id) {
		return "", "", ErrBadCursor
	}
	return score, id, nil
}
