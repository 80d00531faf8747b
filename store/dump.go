package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// DumpOptions say what Dump shows of a file.
type DumpOptions struct {
	// From is where to begin: a physical offset in the log, a queue offset in a queue, the number of an entry in the index.
	From int64
	// Limit is the most rows to show. The default value is 0: all.
	Limit int64
	// Topic and QueueID pass only records and queues of one topic, of one queue. The default values are "" and -1: all.
	Topic   string
	QueueID int32
	// Body says how bodies look.
	Body BodyForm
	// JSON makes each row a JSON object in a line of its own.
	JSON bool
	// IndexSlots is maxHashSlotNum of index files. The default value is 0: it is found out from the file.
	IndexSlots int
}

// BodyForm is how Dump shows bodies.
type BodyForm uint8

// The forms of a body.
const (
	BodyText BodyForm = iota // as text; in JSON as bodyHex where it is none
	BodyHex
	BodyNone
)

// ErrUnknownFile says that Dump does not know what a file is.
var ErrUnknownFile = errors.New("not a file of a store")

// fileKind is what a file of a store holds.
type fileKind struct {
	name string
	dump func(d *dumper, path string) error
}

// Dump writes what a file holds to w, in words or as JSON: a commit log or queue file, an index file, a checkpoint, a
// table. Of a directory it shows all files that it knows. It never stops at damage: that is a row of its own. The error
// is ErrUnknownFile for a file it does not know, or one of reading or writing.
func Dump(ctx context.Context, w io.Writer, path string, opts DumpOptions) error {
	d := &dumper{ctx: ctx, opts: opts, rows: newRowWriter(w, opts.JSON)}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	if info.IsDir() {
		err = d.directory(path)
	} else {
		err = d.file(path)
	}
	if errors.Is(err, errDumpedEnough) {
		err = nil
	}
	return errors.Join(err, d.rows.flush())
}

// dumper is one run of Dump.
type dumper struct {
	ctx   context.Context
	opts  DumpOptions
	rows  *rowWriter
	count int64
}

// errDumpedEnough says that Limit is reached.
var errDumpedEnough = errors.New("enough rows")

func (d *dumper) row(fields ...field) error {
	if err := stopped(d.ctx); err != nil {
		return err
	}
	if d.opts.Limit > 0 && d.count >= d.opts.Limit {
		return errDumpedEnough
	}
	d.count++
	return d.rows.row(fields)
}

// directory shows all known files below dir, each under its name.
func (d *dumper) directory(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		kind, err := kindOf(path)
		if errors.Is(err, ErrUnknownFile) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		d.rows.begin(rel, kind.name)
		return kind.dump(d, path)
	})
}

func (d *dumper) file(path string) error {
	kind, err := kindOf(path)
	if err != nil {
		return err
	}
	return kind.dump(d, path)
}

var (
	kindLog        = fileKind{"commit log", (*dumper).logFile}
	kindQueue      = fileKind{"consume queue", (*dumper).queueFile}
	kindBatchQueue = fileKind{"batch consume queue", (*dumper).batchQueueFile}
	kindIndex      = fileKind{"index", (*dumper).indexFile}
	kindCheckpoint = fileKind{"checkpoint", (*dumper).checkpointFile}
	kindJSON       = fileKind{"JSON", (*dumper).jsonFile}
	kindText       = fileKind{"text", (*dumper).textFile}
	kindTimerLog   = fileKind{"timer log", (*dumper).timerLogFile}
	kindTimerWheel = fileKind{"timer wheel", (*dumper).timerWheelFile}
	kindTimerCheck = fileKind{"timer checkpoint", (*dumper).timerCheckFile}
)

// kindOf tells what a file is, by its path and, where that does not say, by its first bytes.
func kindOf(path string) (fileKind, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return fileKind{}, err
	}
	name := filepath.Base(path)
	head, err := readHead(path, 64)
	if err != nil {
		return fileKind{}, err
	}
	if _, ok := segmentBase(name); ok {
		return segmentKind(path, head)
	}
	switch text := bytes.TrimLeft(head, " \t\r\n"); {
	case isIndexName(name):
		return kindIndex, nil
	case name == "checkpoint":
		return kindCheckpoint, nil
	case name == "timerwheel":
		return kindTimerWheel, nil
	case name == "timercheck", name == "timercheck"+bakSuffix:
		return kindTimerCheck, nil
	case name == "abort", name == "lock", name == "position-checkpoint", strings.HasPrefix(name, "epochFileCheckpoint"), strings.HasPrefix(name, "brokerIdentity"):
		return kindText, nil
	case len(text) > 0 && (text[0] == '{' || text[0] == '['):
		return kindJSON, nil
	}
	return fileKind{}, fmt.Errorf("%w: %s", ErrUnknownFile, path)
}

// segmentKind tells files apart whose names are positions.
func segmentKind(path string, head []byte) (fileKind, error) {
	for _, p := range []struct {
		dir  string
		up   int
		kind fileKind
	}{
		{"commitlog", 1, kindLog},
		{"consumequeue", 3, kindQueue},
		{"batchconsumequeue", 3, kindBatchQueue},
		{"timerlog", 1, kindTimerLog},
		{"compactionLog", 3, kindLog},
		{"compactionCq", 3, kindBatchQueue},
	} {
		dir := path
		for range p.up {
			dir = filepath.Dir(dir)
		}
		if filepath.Base(dir) == p.dir {
			return p.kind, nil
		}
	}
	var m codec.Message
	size := fileBytes(path)
	switch _, err := codec.DecodeMessage(head, &m); {
	case err == nil, errors.Is(err, codec.ErrBlank), errors.Is(err, codec.ErrShort) && len(head) == 64:
		return kindLog, nil
	case size%batchEntryBytes == 0 && len(head) >= batchEntryBytes && batchEntryAt(head).written() && timeText(batchEntryAt(head).storeMs) != "":
		return kindBatchQueue, nil
	case size%entryBytes == 0 && len(head) >= entryBytes && likelyEntry(entryAt(head)):
		return kindQueue, nil
	}
	return fileKind{}, fmt.Errorf("%w: %s, neither its place nor its first bytes say what it is", ErrUnknownFile, path)
}

// likelyEntry reports whether something looks like the first entry of a queue.
func likelyEntry(e entry) bool {
	return e.physOffset >= 0 && e.physOffset < 1<<48 && (e.size == blankEntrySize || e.size >= minRecordBytes-1 && e.size < 1<<30)
}

// checkpointFile shows the five numbers of a checkpoint.
func (d *dumper) checkpointFile(path string) error {
	b, err := readHead(path, checkpointBytes)
	if err != nil {
		return err
	}
	if len(b) < 40 {
		return d.row(field{"damaged", fmt.Sprintf("%d bytes, there should be %d", len(b), checkpointBytes)})
	}
	c := checkpointAt(b)
	return d.row(field{"logTimeMs", c.physicMs}, field{"logTime", timeText(c.physicMs)},
		field{"queueTimeMs", c.logicsMs}, field{"queueTime", timeText(c.logicsMs)},
		field{"indexTimeMs", c.indexMs}, field{"indexTime", timeText(c.indexMs)},
		field{"masterFlushedOffset", c.masterFlushedOffset}, field{"confirmedOffset", c.confirmPhysOffset})
}

// maxTextFileBytes is the largest file that is shown as a whole.
const maxTextFileBytes = 1 << 30

// jsonFile shows a table: as it stands there, or with JSON as one object.
func (d *dumper) jsonFile(path string) error {
	text, err := readHead(path, int(min(fileBytes(path), maxTextFileBytes)))
	if err != nil {
		return err
	}
	if !d.opts.JSON {
		return d.rows.raw(text)
	}
	var value any
	if err := codec.UnmarshalJSON(text, &value); err != nil {
		return d.row(field{"damaged", err.Error()})
	}
	return d.row(field{"value", value})
}

// textFile shows a small file as it is.
func (d *dumper) textFile(path string) error {
	text, err := readHead(path, int(min(fileBytes(path), 1<<20)))
	if err != nil {
		return err
	}
	if !d.opts.JSON {
		return d.rows.raw(text)
	}
	return d.row(field{"text", string(text)})
}

func fileBytes(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
