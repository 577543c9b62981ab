//go:build linux || darwin

package health

import "syscall"

// room returns how many bytes of a folder's disk are free for who runs this process.
func room(path string) (free uint64, err error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(path, &disk); err != nil {
		return 0, err
	}
	return disk.Bavail * uint64(disk.Bsize), nil //nolint:gosec // G115: it is above 0. Its type is another on each system.
}
