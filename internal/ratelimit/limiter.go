// Package ratelimit bounds how many requests somebody may make, over all hubs that share a Redis.
package ratelimit

import "time"

// Limit is what somebody may do: so many requests a second, and so many at once after a pause.
type Limit struct{ PerSecond, Burst int }

// Decision is what becomes of one request.
type Decision struct {
	// Allowed is false when there were too many.
	Allowed bool
	// Remaining is how many more may be made now.
	Remaining int
	// Reset is how long it takes until a whole Burst may be made again.
	Reset time.Duration
	// RetryAfter is how long it takes until the next is allowed; 0 if it is.
	RetryAfter time.Duration
}
