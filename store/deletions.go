package store

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// ownDir holds what only this server knows; Java ignores it.
const ownDir = "apogee"

// deletions remembers where the log stood when a topic was deleted, in apogee/deleted.json: {"topic": physOffset}.
// Records of the topic before that place have no queue, so neither recovery nor the dispatcher gives them one. A mark is
// dropped when the log begins behind it.
type deletions struct {
	path   string
	faults faultFunc

	mu    sync.RWMutex // guards marks
	marks map[string]int64
}

// load reads the file. One that cannot be read is as good as none, which is what Java has.
func (d *deletions) load(dir string, logMin int64, faults faultFunc, logger *slog.Logger) error {
	d.path, d.faults = filepath.Join(dir, ownDir, "deleted.json"), faults
	d.marks = make(map[string]int64)
	good, err := readSealed(d.path, &d.marks, logger)
	if err != nil {
		return err
	}
	if !good || d.marks == nil {
		d.marks = make(map[string]int64)
	}
	maps.DeleteFunc(d.marks, func(_ string, phys int64) bool { return phys <= logMin })
	return nil
}

// covers reports whether a record of topic at physOffset was written before the topic was deleted.
func (d *deletions) covers(topic []byte, physOffset int64) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return physOffset < d.marks[string(topic)]
}

// mark says that all records of each topic before its physical offset are deleted, and waits for the disk.
func (d *deletions) mark(marks map[string]int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := false
	for topic, physOffset := range marks {
		if d.marks[topic] < physOffset {
			d.marks[topic], changed = physOffset, true
		}
	}
	if !changed {
		return nil
	}
	return d.saveLocked()
}

// forget drops the marks that say nothing any more of a log that begins at logMin.
func (d *deletions) forget(logMin int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.marks)
	maps.DeleteFunc(d.marks, func(_ string, phys int64) bool { return phys <= logMin })
	if len(d.marks) == before {
		return nil
	}
	return d.saveLocked()
}

func (d *deletions) saveLocked() error {
	b, err := sealed(d.marks)
	if err != nil {
		return err
	}
	return writeWhole(d.path, b, d.faults)
}

// writeWhole replaces a file so that after a stop at any moment the old or the new one is there.
func writeWhole(path string, b []byte, faults faultFunc) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return wrapFileError(OpWrite, path, err)
	}
	if err := faults.check(OpWrite, path); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".tmp")
	if err != nil {
		return wrapFileError(OpWrite, path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = faults.check(OpRename, path)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return wrapFileError(OpWrite, path, errors.Join(err, os.Remove(f.Name())))
	}
	return faults.syncDir(dir)
}
