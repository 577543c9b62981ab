//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFiles returns how many files this process may have open at a time, 0 if that is not known.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}
