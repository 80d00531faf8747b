package compat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// record is a stored message, as pulls and queries return it. Layout, big-endian, hosts in IPv4:
//
//	 0 size int32 | 4 magic | 8 body crc | 12 queue id | 16 flag | 20 queue offset int64 | 28 physical offset int64
//	36 sys flag | 40 born ms int64 | 48 born host 8 | 56 store ms int64 | 64 store host 8 | 72 reconsume times
//	76 prepared offset int64 | 84 body length int32, body | topic length int8, topic | properties length int16, properties
type record struct {
	Magic          uint32
	QueueID        int32
	QueueOffset    int64
	PhysOffset     int64
	SysFlag        int32
	StoreMs        int64
	ReconsumeTimes int32
	Body           []byte
	Topic          string
	Props          map[string]string
}

const (
	recordMagic   = 0xDAA320A7
	recordMagicV2 = 0xDAA320AB // the topic's length has two bytes
	recordFixed   = 84
)

var errShortRecord = errors.New("record is short")

// decodeRecords decodes all records of a body and checks each CRC.
func decodeRecords(b []byte) ([]record, error) {
	var all []record
	for len(b) > 0 {
		if len(b) < recordFixed+4 {
			return all, errShortRecord
		}
		size := int(binary.BigEndian.Uint32(b))
		if size < recordFixed || size > len(b) {
			return all, fmt.Errorf("record of %d bytes, %d are left", size, len(b))
		}
		r, err := decodeRecord(b[:size])
		if err != nil {
			return all, err
		}
		all = append(all, r)
		b = b[size:]
	}
	return all, nil
}

func decodeRecord(b []byte) (record, error) {
	be := binary.BigEndian
	r := record{
		Magic: be.Uint32(b[4:]), QueueID: int32(be.Uint32(b[12:])), QueueOffset: int64(be.Uint64(b[20:])),
		PhysOffset: int64(be.Uint64(b[28:])), SysFlag: int32(be.Uint32(b[36:])), StoreMs: int64(be.Uint64(b[56:])),
		ReconsumeTimes: int32(be.Uint32(b[72:])),
	}
	topicWidth := 1
	switch r.Magic {
	case recordMagic:
	case recordMagicV2:
		topicWidth = 2
	default:
		return r, fmt.Errorf("record magic %#x", r.Magic)
	}
	body, rest, err := cutBinary(b[recordFixed:], 4)
	if err != nil {
		return r, errShortRecord
	}
	topic, rest, err := cutBinary(rest, topicWidth)
	if err != nil {
		return r, errShortRecord
	}
	properties, rest, err := cutBinary(rest, 2)
	if err != nil || len(rest) != 0 {
		return r, fmt.Errorf("%w, or %d bytes are left over", errShortRecord, len(rest))
	}
	if sum := crc32.ChecksumIEEE(body) & 0x7FFFFFFF; sum != be.Uint32(b[8:]) {
		return r, fmt.Errorf("body's CRC is %#x, the record says %#x", sum, be.Uint32(b[8:]))
	}
	r.Body, r.Topic, r.Props = body, string(topic), parseProps(string(properties))
	return r, nil
}

func parseProps(s string) map[string]string {
	m := map[string]string{}
	for _, pair := range strings.Split(s, "\x02") {
		if k, v, ok := strings.Cut(pair, "\x01"); ok {
			m[k] = v
		}
	}
	return m
}

// batchBody is the body of SEND_BATCH_MESSAGE: per message size, magic 0, crc 0, flag, body, properties.
func batchBody(messages ...batchEntry) []byte {
	var b []byte
	for _, m := range messages {
		b = append(b, m.encode()...)
	}
	return b
}

type batchEntry struct {
	body  string
	props string
}

func (m batchEntry) encode() []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, uint32(22+len(m.body)+len(m.props)))
	b = append(b, make([]byte, 12)...)
	b = append(be.AppendUint32(b, uint32(len(m.body))), m.body...)
	return append(be.AppendUint16(b, uint16(len(m.props))), m.props...)
}

// javaHash is String.hashCode of text without characters beyond ASCII: the code of a tag.
func javaHash(s string) int32 {
	var h int32
	for _, c := range []byte(s) {
		h = 31*h + int32(c)
	}
	return h
}

func nowMs() int64 { return time.Now().UnixMilli() }
