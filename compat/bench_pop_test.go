package compat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// ackMaker makes the acknowledgements of popped messages.
type ackMaker struct {
	maker  *frameMaker
	broker string

	starts [benchQueues]int64 // of the last answer, by queue
	tail   []byte             // of the receipt handles of the last answer, between the first offset and the queue
	handle []byte
}

// append appends one acknowledgement for each message of an answer to a pop, and returns how many they are.
func (m *ackMaker) append(dst []byte, a *reply, group []byte) ([]byte, int, error) {
	if err := m.readStarts(a.field("startOffsetInfo")); err != nil {
		return dst, 0, err
	}
	m.tail = append(m.tail[:0], ' ')
	for _, name := range [...]string{"popTime", "invisibleTime", "reviveQid"} {
		m.tail = append(append(m.tail, a.field(name)...), ' ')
	}
	m.tail = append(append(append(m.tail, "0 "...), m.broker...), ' ') // 0: a topic that is not for retries
	n := 0
	err := records(a.body, func(r []byte) {
		queueID, queueOffset := int64(binary.BigEndian.Uint32(r[12:])), int64(binary.BigEndian.Uint64(r[20:]))
		m.handle = append(strconv.AppendInt(m.handle[:0], m.starts[queueID%benchQueues], 10), m.tail...)
		m.handle = append(strconv.AppendInt(m.handle, queueID, 10), ' ')
		m.handle = strconv.AppendInt(m.handle, queueOffset, 10)
		dst = m.maker.append(dst, firstOpaque+n, nil, field{name: "consumerGroup", text: group}, field{name: "queueId", n: queueID},
			field{name: "offset", n: queueOffset}, field{name: "extraInfo", text: m.handle})
		n++
	})
	return dst, n, err
}

// readStarts keeps the first offset of each queue: "0 queueId offset" separated by semicolons.
func (m *ackMaker) readStarts(info []byte) error {
	for len(info) > 0 {
		one, rest, _ := bytes.Cut(info, []byte(";"))
		info = rest
		_, one, _ = bytes.Cut(one, []byte(" "))
		queue, offset, ok := bytes.Cut(one, []byte(" "))
		queueID := digits(queue)
		if !ok || queueID >= benchQueues {
			return fmt.Errorf("first offsets %q", one)
		}
		m.starts[queueID] = digits(offset)
	}
	return nil
}
