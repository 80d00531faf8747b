package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apogee-mq/apogee/codec"
)

// logReader reads the records of one commit log file without mapping it.
type logReader struct {
	*fileReader
	base int64
	crc  bool // bodies are checked
}

// openLogFile opens a commit log file that begins at physical offset base.
func openLogFile(path string, base int64, crc bool) (*logReader, error) {
	r, err := openReader(path, windowBytes)
	if err != nil {
		return nil, err
	}
	return &logReader{fileReader: r, base: base, crc: crc}, nil
}

// record reads the record at pos as readRecord does; m is good until the next call. errUnreadable says that the disk, not
// the record, is at fault.
func (r *logReader) record(pos int64, m *codec.Message) (n int64, err error) {
	const mostHead = 128 // of the fixed part, with both addresses wide and the body's length
	b, err := r.bytes(pos, min(mostHead, r.size-pos))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if size, ok := plausibleRecord(b, r.size-pos); ok {
		if b, err = r.bytes(pos, size); err != nil {
			return 0, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	return decodeRecord(b, r.base, pos, r.size, r.crc, m)
}

// errUnreadable says that bytes could not be read from the disk.
var errUnreadable = errors.New("cannot be read")

// plausibleRecord tells from the head of a record how long it is; false when size and length of the body do not go
// together, so that nothing large is read for a damaged size.
func plausibleRecord(b []byte, left int64) (size int64, ok bool) {
	if len(b) < codec.PosSysFlag+4 {
		return 0, false
	}
	magic := binary.BigEndian.Uint32(b[codec.PosMagic:])
	size = int64(int32(binary.BigEndian.Uint32(b)))
	if magic != codec.MagicV1 && magic != codec.MagicV2 || size < minRecordBytes-2 || size > left {
		return 0, false
	}
	at := codec.PosBody(int32(binary.BigEndian.Uint32(b[codec.PosSysFlag:])))
	if len(b) < at+4 {
		return size, size <= int64(len(b))
	}
	rest := size - int64(at) - 4 - int64(binary.BigEndian.Uint32(b[at:]))
	return size, rest >= 0 && rest <= 2+codec.MaxTopicBytes+2+codec.MaxPropertiesBytes
}

// resync finds the first whole record behind pos; false when there is none.
func (r *logReader) resync(ctx context.Context, pos int64, m *codec.Message) (at int64, found bool, err error) {
	magic := binary.BigEndian.AppendUint32(nil, codec.MagicV1)[:3] // both versions begin so
	for at = pos + 1; at+codec.PosBodyCRC < r.size; {
		if err := stopped(ctx); err != nil {
			return 0, false, err
		}
		at = max(at, r.nextData(at)-codec.PosMagic-int64(len(magic)))
		b, err := r.bytes(at, windowBytes)
		if err != nil {
			at += windowBytes // a bad sector hides what lies around it
			continue
		}
		skip := -1
		if len(b) > codec.PosMagic {
			skip = bytes.Index(b[codec.PosMagic:], magic)
		}
		if skip < 0 {
			if len(b) <= codec.PosMagic+len(magic) {
				break
			}
			at += int64(len(b) - codec.PosMagic - len(magic) + 1)
			continue
		}
		at += int64(skip)
		if _, err := r.record(at, m); err == nil {
			return at, true, nil
		}
		at++
	}
	return 0, false, nil
}

// logEndKind says how the records of a file end.
type logEndKind uint8

const (
	logFull   logEndKind = iota // a filler, or the last byte
	logOpen                     // a size of 0: nothing was written there
	logBroken                   // something that is no record
)

// logWalk is what walk tells of a file.
type logWalk struct {
	kind    logEndKind
	pos     int64 // after the last record, or that of the filler
	cause   error // of logBroken
	records int64
	firstMs int64 // store times of the first and the last record
	lastMs  int64
}

// logVisitor is told what walk finds, in order. An error ends the walk.
type logVisitor interface {
	// record gets each whole record, with where it begins in the file. m is good until it returns.
	record(pos int64, m *codec.Message) error
	// damage gets a stretch that holds no whole record, with whole ones behind it.
	damage(pos, until int64, cause error) error
}

// walk reads the records that lie in [pos, limit) of the file. Behind a place where none is it goes on with the next whole
// one, unless that is older than the one before: then it was left by an earlier log, and the records end.
func (r *logReader) walk(ctx context.Context, pos, limit int64, v logVisitor) (w logWalk, err error) {
	limit = min(limit, r.size)
	var m codec.Message
	for w.pos = pos; w.pos < limit; {
		if err := stopped(ctx); err != nil {
			return w, err
		}
		n, err := r.record(w.pos, &m)
		switch {
		case err == nil:
			if w.records == 0 {
				w.firstMs = m.StoreTimestampMs
			}
			w.records++
			w.lastMs = m.StoreTimestampMs
			if err := v.record(w.pos, &m); err != nil {
				return w, err
			}
			w.pos += n
			continue
		case errors.Is(err, codec.ErrBlank):
			return w, nil
		}
		at, found, failed := r.resync(ctx, w.pos, &m)
		switch {
		case failed != nil:
			return w, failed
		case !found || at >= limit || m.StoreTimestampMs < w.lastMs:
			w.kind, w.cause = r.endKind(w.pos, err)
			return w, nil
		}
		if err := v.damage(w.pos, at, err); err != nil {
			return w, err
		}
		w.pos = at
	}
	return w, nil
}

func (r *logReader) endKind(pos int64, cause error) (logEndKind, error) {
	b, err := r.bytes(pos, 8)
	if err == nil && allZero(b[:min(len(b), 4)]) {
		return logOpen, nil
	}
	return logBroken, cause
}
