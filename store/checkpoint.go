package store

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
)

// checkpointBytes is the length of the file, on disk, do not change.
const checkpointBytes = 4096

// checkpoint says up to where files were known to be on disk, by store time in ms; the file has these five numbers in
// this order, big-endian, and zeros. Recovery after an abnormal exit begins where the first two say. Apache:
// StoreCheckpoint.
type checkpoint struct {
	physicMs            int64 // log
	logicsMs            int64 // queues
	indexMs             int64
	masterFlushedOffset int64
	confirmPhysOffset   int64
}

// recoverySlackMs is subtracted from the checkpoint's times, as Java does.
const recoverySlackMs = 3000

// trustedMs is the store time of messages that are surely in log and queues.
func (c checkpoint) trustedMs() int64 {
	return max(min(c.physicMs, c.logicsMs)-recoverySlackMs, 0)
}

// readCheckpoint reads the file in dir; a missing or short one is all zeros.
func readCheckpoint(dir string, faults faultFunc) (checkpoint, error) {
	path := filepath.Join(dir, "checkpoint")
	if err := faults.check(OpRead, path); err != nil {
		return checkpoint{}, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return checkpoint{}, nil
	}
	if err != nil {
		return checkpoint{}, wrapFileError(OpRead, path, err)
	}
	if len(b) < 40 {
		return checkpoint{}, nil
	}
	c := checkpointAt(b)
	for _, n := range []*int64{&c.physicMs, &c.logicsMs, &c.indexMs, &c.masterFlushedOffset, &c.confirmPhysOffset} {
		*n = max(*n, 0)
	}
	return c, nil
}

// checkpointAt reads the numbers as they stand there; b has at least 40 bytes.
func checkpointAt(b []byte) checkpoint {
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return checkpoint{at(0), at(1), at(2), at(3), at(4)}
}

// write writes the file and waits for the disk. The first 40 bytes lie in one sector, so they change together.
func (c checkpoint) write(dir string, faults faultFunc, r *ring) error {
	path := filepath.Join(dir, "checkpoint")
	if err := faults.check(OpWrite, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return wrapFileError(OpWrite, path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() < checkpointBytes {
		if err := f.Truncate(checkpointBytes); err != nil {
			return wrapFileError(OpWrite, path, err)
		}
	}
	b := make([]byte, 0, 40)
	for _, n := range []int64{c.physicMs, c.logicsMs, c.indexMs, c.masterFlushedOffset, c.confirmPhysOffset} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return wrapFileError(OpWrite, path, err)
	}
	done, err := r.sync(path, 0, checkpointBytes)
	if !done {
		err = f.Sync()
	}
	if err != nil {
		return wrapFileError(OpFlush, path, err)
	}
	return nil
}
