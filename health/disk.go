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

// Room is the least that should be free on a disk.
type Room struct {
	// Bytes and Percent of the disk's size; less than either is too little.
	Bytes   uint64
	Percent float64
}

// Disk returns a probe that warns when a folder's disk has less room than that for who runs the hub, or cannot be looked at. It
// never fails. On systems where it cannot look it always passes.
func Disk(least Room, folders ...Folder) Probe {
	return func(context.Context) error {
		for _, f := range folders {
			free, size, err := room(f.Path)
			switch {
			case errors.Is(err, errors.ErrUnsupported):
			case err != nil:
				return Warning("The disk of " + f.Name + " cannot be looked at.")
			case size > 0 && (free < least.Bytes || float64(free) < float64(size)/100*least.Percent):
				return Warning(fmt.Sprintf("The disk of %s has little room left: %d MiB, %.1f %%.", f.Name, free>>20, float64(free)/float64(size)*100))
			}
		}
		return nil
	}
}
