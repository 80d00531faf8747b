package codec

import (
	"encoding/binary"
	"strconv"
)

// fieldRef says where one extField of a parsed command lies: in Command.fields or, with the inScratch bit in a position, in
// Command.scratch.
type fieldRef struct {
	keyPos, keyLen, valuePos, valueLen uint32
}

// inScratch marks a position in the scratch. A header has at most 2^24 bytes.
const inScratch = 1 << 31

// at returns the bytes of a reference.
func (c *Command) at(pos, n uint32) []byte {
	b := c.fields
	if pos&inScratch != 0 {
		b, pos = c.scratch, pos&^inScratch
	}
	return b[pos : pos+n : pos+n]
}

// FieldIter walks over the extFields of a parsed command. Key and Value alias the frame or the command.
type FieldIter struct {
	Key, Value []byte

	c    *Command
	next int
}

// Fields returns an iterator over the extFields of a parsed command, in the order of the frame:
//
//	for it := c.Fields(); it.Next(); { use(it.Key, it.Value) }
func (c *Command) Fields() FieldIter { return FieldIter{c: c} }

// Next moves to the next field and reports whether there is one.
func (it *FieldIter) Next() bool {
	if it.next >= len(it.c.index) {
		return false
	}
	f := &it.c.index[it.next]
	it.Key, it.Value = it.c.at(f.keyPos, f.keyLen), it.c.at(f.valuePos, f.valueLen)
	it.next++
	return true
}

// Field returns the value of one extField of a parsed command; of a key that stands twice the last, as Java. The value aliases
// the frame or the command.
func (c *Command) Field(key string) (value []byte, ok bool) {
	for i := len(c.index) - 1; i >= 0; i-- {
		f := &c.index[i]
		if int(f.keyLen) == len(key) && string(c.at(f.keyPos, f.keyLen)) == key {
			return c.at(f.valuePos, f.valueLen), true
		}
	}
	return nil, false
}

// FieldAppender is a custom header that writes its own fields, without reflection.
type FieldAppender interface{ AppendFields(w *FieldWriter) }

// FieldWriter writes extFields in the codec of the frame that is being encoded.
type FieldWriter struct {
	dst    []byte
	count  int
	binary bool
}

// String writes one field.
func (w *FieldWriter) String(key, value string) { writeText(w, key, value) }

// Bytes writes one field whose value is UTF-8 text.
func (w *FieldWriter) Bytes(key string, value []byte) { writeText(w, key, value) }

func writeText[T string | []byte](w *FieldWriter, key string, value T) {
	w.key(key)
	if w.binary {
		w.dst = binary.BigEndian.AppendUint32(w.dst, uint32(len(value)))
		w.dst = append(w.dst, value...)
		return
	}
	w.dst = appendJSONText(w.dst, value)
	w.dst = append(w.dst, '"')
}

// Int writes one field as a decimal number.
func (w *FieldWriter) Int(key string, value int64) {
	w.key(key)
	if !w.binary {
		w.dst = strconv.AppendInt(w.dst, value, 10)
		w.dst = append(w.dst, '"')
		return
	}
	start := len(w.dst)
	w.dst = append(w.dst, 0, 0, 0, 0)
	w.dst = strconv.AppendInt(w.dst, value, 10)
	binary.BigEndian.PutUint32(w.dst[start:], uint32(len(w.dst)-start-4))
}

// Bool writes one field as "true" or "false".
func (w *FieldWriter) Bool(key string, value bool) {
	if value {
		w.String(key, "true")
	} else {
		w.String(key, "false")
	}
}

// key writes the key and, for JSON, everything up to the value's text.
func (w *FieldWriter) key(key string) {
	w.count++
	if w.binary {
		w.dst = binary.BigEndian.AppendUint16(w.dst, uint16(len(key)))
		w.dst = append(w.dst, key...)
		return
	}
	if w.count > 1 {
		w.dst = append(w.dst, ',')
	}
	w.dst = append(w.dst, '"')
	w.dst = appendJSONText(w.dst, key)
	w.dst = append(w.dst, `":"`...)
}

// appendFields appends the fields of c.Header and c.Extra.
func appendFields(dst []byte, c *Command, isBinary bool) (grown []byte, count int) {
	w := &c.writer
	*w = FieldWriter{dst: dst, binary: isBinary}
	switch h := c.Header.(type) {
	case nil:
	case FieldAppender:
		h.AppendFields(w)
	default:
		appendTagged(w, h)
	}
	for _, f := range c.Extra {
		w.String(f.Key, f.Value)
	}
	grown, count = w.dst, w.count
	w.dst = nil
	return grown, count
}
