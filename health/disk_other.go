//go:build !linux && !darwin

package health

import "errors"

// room is not known: there is no portable way to ask.
func room(string) (free uint64, err error) { return 0, errors.ErrUnsupported }
