package health

import (
	"context"
	"errors"
	"fmt"
)

// Folder is one whose disk a probe looks at.
type Folder struct {
	// Name says in the probe's warning what the folder is for; Path is not told.
	Name, Path string
}

// Disk returns a probe that warns when a folder's disk has less than so many bytes free for who runs the hub, or cannot be looked
// at. It never fails. On systems where it cannot look it always passes.
func Disk(least uint64, folders ...Folder) Probe {
	return func(context.Context) error {
		for _, f := range folders {
			free, err := room(f.Path)
			switch {
			case errors.Is(err, errors.ErrUnsupported):
			case err != nil:
				return Warning("The disk of " + f.Name + " cannot be looked at.")
			case free < least:
				return Warning(fmt.Sprintf("The disk of %s has little room left: %d MiB.", f.Name, free>>20))
			}
		}
		return nil
	}
}
