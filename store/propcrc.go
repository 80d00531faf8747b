package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/apogee-mq/apogee/codec"
)

// With Options.AppendPropCRC the last property of each record is a checksum of all that stands before it, on disk, do not change:
//
//	__CRC32# 8 | 1 1 | CRC-32 (IEEE) without the sign bit, ten decimal digits, the lowest first 10 | 2 1
//
// Apache: CommitLog.CRC32_RESERVED_LEN, MessageDecoder.createCrc32.
const (
	crcDigits    = 10
	propCRCBytes = len(codec.PropCRC32) + 1 + crcDigits + 1
)

// errPropCRC says that a record does not match the checksum in its properties, or has none where one is demanded.
var errPropCRC = errors.New("checksum in the properties")

// withoutPropCRC returns the properties of a message to which its checksum can be appended: a checksum that came with it is left
// out, and the last pair has an end.
func withoutPropCRC(props []byte) []byte {
	if bytes.Contains(props, []byte(codec.PropCRC32)) {
		return codec.AppendPropertiesWithout(nil, props, codec.PropCRC32)
	}
	if n := len(props); n > 0 && props[n-1] != codec.PropertyEnd {
		return append(props[:n:n], codec.PropertyEnd)
	}
	return props
}

// putPropCRC writes the checksum of a record into its last bytes. The size, which is written later, counts as written.
func putPropCRC(dst []byte) {
	at := len(dst) - propCRCBytes
	sum := recordCRC(dst[:at], len(dst))
	n := at + copy(dst[at:], codec.PropCRC32)
	dst[n] = 1
	for i := range crcDigits {
		dst[n+1+i] = byte('0' + sum%10)
		sum /= 10
	}
	dst[n+1+crcDigits] = codec.PropertyEnd
}

// recordCRC is the checksum of the bytes of a record before its last property; size is that of the whole.
func recordCRC(b []byte, size int) uint32 {
	head := [4]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	return crc32.Update(crc32.ChecksumIEEE(head[:]), crc32.IEEETable, b[len(head):]) & math.MaxInt32
}

// propCRC returns the checksum at the end of properties.
func propCRC(props []byte) (sum uint32, ok bool) {
	at := len(props) - propCRCBytes
	if at < 0 || string(props[at:at+len(codec.PropCRC32)]) != codec.PropCRC32 || at > 0 && props[at-1] != codec.PropertyEnd {
		return 0, false
	}
	digits := props[at+len(codec.PropCRC32):]
	if digits[0] != 1 || digits[crcDigits+1] != codec.PropertyEnd {
		return 0, false
	}
	var n uint64
	for i := crcDigits; i > 0; i-- {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(digits[i]-'0')
	}
	return uint32(n), n <= math.MaxInt32
}

// checkPropCRC compares a record with the checksum at the end of its properties, if there is one.
func checkPropCRC(m *codec.Message) error {
	want, ok := propCRC(m.Properties)
	if !ok {
		return nil
	}
	record := codec.AppendMessage(make([]byte, 0, m.TotalSizeBytes), m)
	binary.BigEndian.PutUint32(record[codec.PosBodyCRC:], m.BodyCRC) // of an empty body it may be any
	if got := recordCRC(record[:len(record)-propCRCBytes], len(record)); got != want {
		return fmt.Errorf("%w: the record has %010d, they say %010d", errPropCRC, got, want)
	}
	return nil
}

// checkPropCRC is what recovery asks of a record that is good otherwise. Checksums of properties count where they are written now:
// elsewhere one may be left over from the message that this one was copied from. Apache: CommitLog.checkMessageAndReturnSize.
func (o *Options) checkPropCRC(m *codec.Message) error {
	if !o.CheckCRC || !o.AppendPropCRC && !o.ForcePropCRC {
		return nil
	}
	if o.ForcePropCRC {
		if _, ok := propCRC(m.Properties); !ok {
			return fmt.Errorf("%w: there is none, and forceVerifyPropCRC demands one", errPropCRC)
		}
	}
	return checkPropCRC(m)
}

// encode fills what comes before the content, and returns the properties with what the store changes in them.
func (s *Store) encode(r *record, m *Message, props []byte) []byte {
	r.encode(m, &s.host)
	r.crcLen = 0
	if s.opts.AppendPropCRC {
		r.crcLen = propCRCBytes
		return withoutPropCRC(props)
	}
	return props
}

// checkRecord refuses a record for whose properties, or for which in size bytes, there is no room.
func (s *Store) checkRecord(r *record, size int) error {
	if r.crcLen > 0 || r.lmqs {
		n := r.propsLen()
		if r.sysFlag&codec.SysInnerBatch != 0 {
			n += maxInnerPropsBytes
		}
		if n > codec.MaxPropertiesBytes {
			return fmt.Errorf("%w: properties of %d bytes, at most %d are possible", ErrMessageTooLarge, n, codec.MaxPropertiesBytes)
		}
	}
	return s.checkSize(size)
}
