package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockHeld reports whether a server, Java's or ours, has the directory open. It takes nothing and changes nothing.
func lockHeld(dir string) (bool, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer f.Close()
	how := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
	err = unix.FcntlFlock(f.Fd(), getLockCommand, &how)
	if errors.Is(err, unix.EINVAL) {
		how = unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
		err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &how)
	}
	if err != nil {
		return false, fmt.Errorf("look at lock %s: %w", path, err)
	}
	return how.Type != unix.F_UNLCK, nil
}
