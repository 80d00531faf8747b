package admin

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apogee-mq/apogee/codec"
)

func compactionLogCommands() []spec {
	return []spec{{name: "dumpCompactionLog", short: "Show the messages in a file of a compaction log", run: dumpCompactionLog,
		options: []option{text("f", "file", "FILE", "file below store/compaction/compactionLog/TOPIC/QUEUE")}}}
}

// dumpCompactionLog shows the messages of one file up to its filler or its unused rest. Apache: DumpCompactionLogCommand, which opens the
// file for writing and does not end at a record that it cannot read.
func dumpCompactionLog(s *session) error {
	if !s.given("file") {
		return usageError{"miss dump log file name: dumpCompactionLog needs -f (file)"}
	}
	path := s.text("file")
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("file %s not exist", path)
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("file %s is a directory", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s.list()
	err = eachRecord(bufio.NewReaderSize(file, 1<<20), info.Size(), func(pos int64, rec []byte) error {
		m, _, err := readMessage(rec)
		if err != nil {
			return fmt.Errorf("no message at byte %d: %w", pos, err)
		}
		s.say("%s\n", m.describeWith("null"))
		s.add(m.record())
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// eachRecord calls do for the records of a file of size bytes until one is the filler, has no length or is not whole. rec lasts for
// one call.
func eachRecord(r *bufio.Reader, size int64, do func(pos int64, rec []byte) error) error {
	var rec []byte
	for pos := int64(0); size-pos >= 8; {
		head, err := r.Peek(8)
		if err != nil {
			return err
		}
		n := int64(int32(binary.BigEndian.Uint32(head)))
		if n <= 0 {
			return nil
		}
		if binary.BigEndian.Uint32(head[4:]) == codec.MagicBlank {
			return nil
		}
		if n < 8 || n > size-pos {
			return fmt.Errorf("the record at byte %d says that it has %d bytes, %d are left in the file", pos, n, size-pos)
		}
		if int64(cap(rec)) < n {
			rec = make([]byte, n)
		}
		if _, err := io.ReadFull(r, rec[:n]); err != nil {
			return err
		}
		if err := do(pos, rec[:n]); err != nil {
			return err
		}
		pos += n
	}
	return nil
}
