package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Layout of one entry of a batch body, big-endian, repeated. Size, magic and CRC are ignored, as Java's broker does.
//
//	total size 4 | magic 4 | body CRC 4 | flag 4 | body length 4, body | properties length 2, properties
const batchHeadBytes = 16

// BatchIter walks the entries of a batch body. Apache: MessageDecoder.decodeMessages.
//
//	for it := NewBatchIter(body); it.Next(); {
type BatchIter struct {
	Flag       int32
	Body       []byte // aliases the batch body
	Properties []byte // aliases the batch body

	rest []byte
	pos  int
	err  error
}

// NewBatchIter returns an iterator that stands before the first entry.
func NewBatchIter(body []byte) BatchIter { return BatchIter{rest: body} }

// Next moves to the next entry; false at the end and at the first entry whose lengths lie, which Err tells apart.
func (it *BatchIter) Next() bool {
	if it.err != nil || len(it.rest) == 0 {
		return false
	}
	before := len(it.rest)
	if before < batchHeadBytes {
		return it.fail()
	}
	it.Flag = int32(binary.BigEndian.Uint32(it.rest[12:]))
	body, rest, ok := cutSized(it.rest[batchHeadBytes:], 4, math.MaxInt32)
	if !ok {
		return it.fail()
	}
	props, rest, ok := cutSized(rest, 2, MaxPropertiesBytes)
	if !ok {
		return it.fail()
	}
	it.Body, it.Properties, it.rest = body, props, rest
	it.pos += before - len(rest)
	return true
}

// Err returns ErrShort, with the place, when the walk ended before the batch body did.
func (it *BatchIter) Err() error { return it.err }

func (it *BatchIter) fail() bool {
	it.err = fmt.Errorf("batch entry at %d: %w", it.pos, ErrShort)
	return false
}

// CountBatch returns the number of entries of a batch body. ErrShort, with the place, says that it is none. Apache:
// MessageDecoder.countInnerMsgNum.
func CountBatch(body []byte) (n int, err error) {
	it := NewBatchIter(body)
	for it.Next() {
		n++
	}
	return n, it.Err()
}

// AppendBatchEntry writes one entry of a batch body as clients do, magic and CRC zero. Properties are at most
// MaxPropertiesBytes.
func AppendBatchEntry(dst []byte, flag int32, body, properties []byte) []byte {
	size := batchHeadBytes + 4 + len(body) + 2 + len(properties)
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(flag))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, body...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(properties)))
	return append(dst, properties...)
}
