package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

var (
	// errWrongPlace says that a whole record lies where it was not written to.
	errWrongPlace = errors.New("record was written at another offset")
	// errTornText says that a sector of a record's topic or properties never reached the disk.
	errTornText = errors.New("topic or properties are incomplete")
)

// sectorBytes is the smallest piece that reaches a disk as a whole.
const sectorBytes = 512

// readRecord reads the record at pos of seg, whose bytes end at limit, into m and returns its size; m aliases the
// segment. codec.ErrBlank, with the size, says that the rest of the segment is filler. Any other error says that no
// record is there. Apache: CommitLog.checkMessageAndReturnSize.
func readRecord(seg *segment, pos, limit int64, checkCRC bool, m *codec.Message) (n int64, err error) {
	return decodeRecord(seg.data[pos:limit], seg.base, pos, seg.size, checkCRC, m)
}

// decodeRecord is readRecord for the bytes b at pos of a file of fileBytes that begins at physical offset base.
func decodeRecord(b []byte, base, pos, fileBytes int64, checkCRC bool, m *codec.Message) (n int64, err error) {
	size, err := codec.DecodeMessage(b, m)
	if errors.Is(err, codec.ErrBlank) {
		if pos+int64(size) != fileBytes {
			return 0, fmt.Errorf("filler of %d bytes: %w", size, codec.ErrSize)
		}
		return int64(size), err
	}
	if err != nil {
		return 0, err
	}
	if m.PhysOffset != base+pos {
		return 0, fmt.Errorf("%w: %d", errWrongPlace, m.PhysOffset)
	}
	if checkCRC {
		if err := m.CheckBody(); err != nil {
			return 0, err
		}
		if err := checkText(m, pos, int64(size)); err != nil {
			return 0, err
		}
	}
	return int64(size), nil
}

// checkText finds sectors of topic and properties that are all zero. No checksum covers these texts; after a power cut
// what did not reach the disk reads as zeros.
func checkText(m *codec.Message, pos, size int64) error {
	propsAt := pos + size - int64(len(m.Properties))
	if holeIn(m.Properties, propsAt) || holeIn(m.Topic, propsAt-2-int64(len(m.Topic))) {
		return errTornText
	}
	return nil
}

// holeIn reports whether the part of text in one sector is all zero; text begins at pos.
func holeIn(text []byte, pos int64) bool {
	for len(text) > 0 {
		n := min(sectorBytes-pos%sectorBytes, int64(len(text)))
		if text[0] == 0 && allZero(text[:n]) {
			return true
		}
		text, pos = text[n:], pos+n
	}
	return false
}

// queued reports whether a record has a queue entry: prepared and rolled back messages have none.
func queued(sysFlag int32) bool {
	t := codec.TransactionType(sysFlag)
	return t != codec.SysPrepared && t != codec.SysRollback
}

// tagsCode returns what the queue entry of a record holds besides its place.
func tagsCode(levels DelayLevels, schedule bool, props []byte, storeTimestampMs int64) int64 {
	if schedule {
		if due, ok := levels.TagsCode(props, storeTimestampMs); ok {
			return due
		}
	}
	if tags, ok := codec.Property(props, codec.PropTags); ok {
		return codec.TagsCode(tags)
	}
	return 0
}

// checkTopic refuses a topic that cannot be stored: its name is also that of a directory. Which names clients may use is
// not the store's question.
func checkTopic[T string | []byte](topic T) error {
	name := string(topic)
	most := codec.MaxTopicV1Bytes
	if strings.HasPrefix(name, RetryTopicPrefix) || strings.HasPrefix(name, DLQTopicPrefix) || IsLMQ(name) {
		most = maxRetryTopLen
	}
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w: topic %q", ErrIllegal, name)
	case len(name) > most:
		return fmt.Errorf("%w: topic of %d bytes, at most %d are possible", ErrIllegal, len(name), most)
	case strings.ContainsAny(name, "/\\\x00"):
		return fmt.Errorf("%w: topic %q", ErrIllegal, name)
	}
	return nil
}
