package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync/atomic"
)

// timerWheelChunk is how much of the wheel is read at once.
const timerWheelChunk = 256 << 10

// timerWheel is the file of slots. A slot holds the time it stands for, so one that is left over from an earlier round is
// told from a live one. Changes are kept until commit writes them. Only num and sync may be called from other goroutines.
// Apache: TimerWheel.
type timerWheel struct {
	path      string
	precision int64 // of a slot in ms
	slots     int64 // in the file
	faults    faultFunc

	file    atomic.Pointer[os.File] // nil while there is none
	touched map[int64]timerSlot     // by index
	buf     []byte
}

// openTimerWheel opens the file at path if there is one; damage says why it cannot be used.
func openTimerWheel(path string, precision, slots int64, faults faultFunc) (w *timerWheel, damage, err error) {
	w = &timerWheel{path: path, precision: precision, slots: slots, faults: faults, touched: make(map[int64]timerSlot)}
	if err := faults.check(OpRead, path); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return w, nil, nil
	}
	if err != nil {
		return nil, nil, wrapFileError(OpRead, path, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, errors.Join(wrapFileError(OpRead, path, err), f.Close())
	case info.Size() == 0: // Java or we were killed while it was made
		return w, nil, f.Close()
	case info.Size() != slots*timerSlotBytes:
		damage = fmt.Errorf("%w: timer wheel %s has %d bytes, expected %d", ErrCorrupt, path, info.Size(), slots*timerSlotBytes)
		return w, damage, f.Close()
	}
	w.file.Store(f)
	return w, nil, nil
}

func (w *timerWheel) exists() bool { return w.file.Load() != nil }

// unit returns the slot time of a time, in units of the precision.
func (w *timerWheel) unit(timeMs int64) int64 { return timeMs / w.precision }

// floor returns the time in ms of the slot that a time belongs to.
func (w *timerWheel) floor(timeMs int64) int64 { return timeMs / w.precision * w.precision }

// at returns the slot of a time; an empty one when there is none.
func (w *timerWheel) at(timeMs int64) (timerSlot, error) {
	unit := w.unit(timeMs)
	none := timerSlot{unit: unit, first: -1, last: -1}
	if s, ok := w.touched[unit%w.slots]; ok {
		if s.unit == unit {
			return s, nil
		}
		return none, nil
	}
	var b [timerSlotBytes]byte
	if ok, err := w.readAt(b[:], unit%w.slots); !ok || err != nil {
		return none, err
	}
	if s := timerSlotAt(b[:]); s.unit == unit {
		return s, nil
	}
	return none, nil
}

func (w *timerWheel) readAt(b []byte, index int64) (ok bool, err error) {
	f := w.file.Load()
	if f == nil {
		return false, nil
	}
	if err := w.faults.check(OpRead, w.path); err != nil {
		return false, err
	}
	if _, err := f.ReadAt(b, index*timerSlotBytes); err != nil && !errors.Is(err, io.EOF) {
		return false, wrapFileError(OpRead, w.path, err)
	}
	return true, nil
}

// num returns how many records a slot has, as Java counts them: one that takes back counts -1. For any goroutine; it does
// not see what is not committed.
func (w *timerWheel) num(timeMs int64) int64 {
	var b [timerSlotBytes]byte
	if ok, err := w.readAt(b[:], w.unit(timeMs)%w.slots); !ok || err != nil {
		return 0
	}
	if s := timerSlotAt(b[:]); s.unit == w.unit(timeMs) {
		return int64(s.num)
	}
	return 0
}

// set changes a slot.
func (w *timerWheel) set(s timerSlot) { w.touched[s.unit%w.slots] = s }

// commit writes what was changed. After an error it may be called again.
func (w *timerWheel) commit() error {
	if len(w.touched) == 0 {
		return nil
	}
	f := w.file.Load()
	if f == nil {
		if err := w.create(); err != nil {
			return err
		}
		f = w.file.Load()
	}
	if err := w.faults.check(OpWrite, w.path); err != nil {
		return err
	}
	for index, s := range w.touched {
		w.buf = appendTimerSlot(w.buf[:0], &s)
		if _, err := f.WriteAt(w.buf, index*timerSlotBytes); err != nil {
			return wrapFileError(OpWrite, w.path, err)
		}
	}
	clear(w.touched)
	return nil
}

// create makes the file, all zeros and without blocks.
func (w *timerWheel) create() error {
	if err := w.faults.check(OpCreate, w.path); err != nil {
		return err
	}
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return wrapFileError(OpCreate, w.path, err)
	}
	if err := f.Truncate(w.slots * timerSlotBytes); err != nil {
		return errors.Join(wrapFileError(OpCreate, w.path, err), f.Close())
	}
	w.file.Store(f)
	return nil
}

// reset begins a new wheel without records.
func (w *timerWheel) reset() error {
	clear(w.touched)
	w.close()
	return w.create()
}

// next returns the time of the first slot with records in [fromMs, toMs), which may not be longer than the wheel. It sees
// what is committed.
func (w *timerWheel) next(fromMs, toMs int64) (slotMs int64, ok bool, err error) {
	from, to := w.unit(fromMs), w.unit(toMs)
	b := make([]byte, 4<<10)
	for from < to {
		n := min(to-from, int64(len(b)/timerSlotBytes), w.slots-from%w.slots)
		part := b[:n*timerSlotBytes]
		if ok, err := w.readAt(part, from%w.slots); !ok || err != nil {
			return 0, false, err
		}
		for ; len(part) > 0; part = part[timerSlotBytes:] {
			if s := timerSlotAt(part); s.unit == from {
				return from * w.precision, true, nil
			}
			from++
		}
	}
	return 0, false, nil
}

// each calls fn with every slot that was ever set, and returns a checksum of all of them.
func (w *timerWheel) each(fn func(s timerSlot)) (sum uint32, err error) {
	if !w.exists() {
		return 0, nil
	}
	b, zeros := make([]byte, timerWheelChunk), make([]byte, timerSlotBytes*128)
	for index := int64(0); index < w.slots; {
		part := b[:min(int64(len(b)), (w.slots-index)*timerSlotBytes)]
		if _, err := w.readAt(part, index); err != nil {
			return 0, err
		}
		index += int64(len(part)) / timerSlotBytes
		for len(part) > 0 {
			page := part[:min(len(part), len(zeros))]
			part = part[len(page):]
			if bytes.Equal(page, zeros[:len(page)]) {
				continue
			}
			sum = crc32.Update(sum, crc32.IEEETable, page)
			for ; len(page) > 0; page = page[timerSlotBytes:] {
				if s := timerSlotAt(page); s.unit != 0 {
					fn(s)
				}
			}
		}
	}
	return sum, nil
}

// sync flushes the file.
func (w *timerWheel) sync() error {
	f := w.file.Load()
	if f == nil {
		return nil
	}
	if err := w.faults.check(OpFlush, w.path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return wrapFileError(OpFlush, w.path, err)
	}
	return nil
}

func (w *timerWheel) close() {
	if f := w.file.Swap(nil); f != nil {
		f.Close()
	}
}
