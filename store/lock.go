package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dirLock is the record lock on the first byte of the file "lock", the one Java's FileChannel.tryLock(0, 1, false)
// takes, so that neither server opens a directory the other one has open.
type dirLock struct {
	file *os.File
}

// takeLock makes the directory ours. ErrInUse when another process has it, or another Store of this process.
func takeLock(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
			return nil, fmt.Errorf("store directory %s is not writable: %w", dir, err)
		}
		return nil, fmt.Errorf("open lock: %w", err)
	}
	how := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
	err = unix.FcntlFlock(f.Fd(), setLockCommand, &how)
	if errors.Is(err, unix.EINVAL) {
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &how)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("%w: %s%s", ErrInUse, dir, holderOf(dir))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if _, err := f.WriteAt([]byte("lock"), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return &dirLock{file: f}, nil
}

// holderOf names the process that wrote the abort file, if it did.
func holderOf(dir string) string {
	b, err := os.ReadFile(abortPath(dir))
	pid := strings.TrimSpace(string(b))
	if err != nil || pid == "" || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return " (process " + pid + ")"
}

// release gives the directory free.
func (l *dirLock) release() error {
	// Closing drops the lock, but not while a child that is just being started still has the descriptor.
	free := unix.Flock_t{Type: unix.F_UNLCK, Start: 0, Len: 1}
	if err := unix.FcntlFlock(l.file.Fd(), setLockCommand, &free); errors.Is(err, unix.EINVAL) {
		_ = unix.FcntlFlock(l.file.Fd(), unix.F_SETLK, &free)
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("release lock: %w", err)
	}
	return nil
}

// abortPath is the file that exists while a store is open; found at a start it says that the last stop was not clean.
func abortPath(dir string) string { return filepath.Join(dir, "abort") }

// writeAbort makes the abort file with our process id in it, as Java does.
func writeAbort(dir string) error {
	path := abortPath(dir)
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d", os.Getpid()), 0o644); err != nil {
		err = wrapFileError(OpWrite, path, err)
		// On a full disk its name must do: it is what counts, and retention comes only after the start.
		if _, missing := os.Stat(path); missing != nil || !errors.Is(err, ErrNoSpace) {
			return err
		}
	}
	return syncDir(dir)
}

// removeAbort marks the stop as a clean one.
func removeAbort(dir string) error {
	if err := os.Remove(abortPath(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrapFileError(OpRemove, abortPath(dir), err)
	}
	return syncDir(dir)
}

func hasEntries(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}
