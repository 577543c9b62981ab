//go:build unix

package api

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file to the owner of another, if that may be done: who runs the command is often not who runs the hub.
func keepOwner(file *os.File, like fs.FileInfo) {
	if stat, ok := like.Sys().(*syscall.Stat_t); ok {
		_ = file.Chown(int(stat.Uid), int(stat.Gid)) // Only root may give files away.
	}
}
