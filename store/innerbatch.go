package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// An inner batch is a record whose body is a batch body: several messages that take an entry in a batch queue together.
// Its properties say how many they are, INNER_NUM, and which queue offset the first one has, INNER_BASE. Clients unwrap
// it. Apache: MessageSysFlag.INNER_BATCH_FLAG, CommitLog.getMessageNum.

// maxInnerMessages is what the entry has room for.
const maxInnerMessages = math.MaxInt16

// maxInnerPropsBytes is the most that INNER_NUM and INNER_BASE take.
const maxInnerPropsBytes = 64

// innerProps are the properties that the store adds to an inner batch.
var innerProps = []string{codec.PropInnerNum, codec.PropInnerBase}

// countInner returns how many messages the inner batch m holds. ErrIllegal says that it cannot be stored: the body is no
// batch body, or INNER_NUM says something else.
func countInner(m *Message) (int32, error) {
	if t := codec.TransactionType(m.SysFlag); t == codec.SysPrepared || t == codec.SysRollback || m.SysFlag&codec.SysCompressed != 0 {
		return 0, fmt.Errorf("%w: inner batch that is compressed or half a transaction", ErrIllegal)
	}
	n, err := codec.CountBatch(m.Body)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrIllegal, err)
	case n < 1 || n > maxInnerMessages:
		return 0, fmt.Errorf("%w: inner batch of %d messages, between 1 and %d are possible", ErrIllegal, n, maxInnerMessages)
	}
	if said, ok := codec.Property(m.Properties, codec.PropInnerNum); ok && string(said) != strconv.Itoa(n) {
		return 0, fmt.Errorf("%w: inner batch of %d messages, INNER_NUM says %q", ErrIllegal, n, said)
	}
	if len(m.Properties) > codec.MaxPropertiesBytes-maxInnerPropsBytes {
		return 0, fmt.Errorf("%w: inner batch with properties of %d bytes", ErrMessageTooLarge, len(m.Properties))
	}
	return int32(n), nil
}

// wrap makes r the record of an inner batch whose first message gets queueOffset. The caller holds the append lock,
// without which the offset is not known.
func (r *record) wrap(queueOffset int64) {
	late := r.late[:0]
	if end := len(r.props); end > 0 && r.props[end-1] != codec.PropertyEnd {
		late = append(late, codec.PropertyEnd)
	}
	var digits [20]byte
	late = codec.AppendPropertyBytes(late, codec.PropInnerNum, strconv.AppendInt(digits[:0], int64(r.count), 10))
	late = codec.AppendPropertyBytes(late, codec.PropInnerBase, strconv.AppendInt(digits[:0], queueOffset, 10))
	r.lateLen = len(late)
	r.size += r.lateLen
}

// tidyInner returns the properties of an inner batch without those that the store adds.
func tidyInner(props []byte) []byte {
	if !bytes.Contains(props, []byte("INNER_")) {
		return props
	}
	return codec.AppendPropertiesWithout(nil, props, innerProps...)
}

// innerCount returns how many messages a stored record of a batch queue holds. The error says why it cannot be in the
// queue. INNER_NUM is covered by no checksum: when it promises more than the body has, the body counts. Apache:
// CommitLog.setBatchSizeIfNeeded.
func innerCount(m *codec.Message) (n int32, err error) {
	said, err := saidCount(m)
	if err != nil || m.SysFlag&codec.SysInnerBatch == 0 || m.SysFlag&codec.SysCompressed != 0 {
		return said, err
	}
	if has, err := codec.CountBatch(m.Body); err == nil && has > 0 && has < int(said) {
		return int32(has), nil
	}
	return said, nil
}

// holdsMessages reports whether n is the number of messages of a record, or what it says that it is: Apache goes by that.
func holdsMessages(m *codec.Message, n int32) bool {
	if said, err := saidCount(m); err != nil || said == n {
		return err == nil
	}
	has, err := innerCount(m)
	return err == nil && has == n
}

// saidCount is the number of messages that the properties of a record name, 1 without.
func saidCount(m *codec.Message) (int32, error) {
	num, ok := codec.Property(m.Properties, codec.PropInnerNum)
	base, based := codec.Property(m.Properties, codec.PropInnerBase)
	if !ok || !based {
		return 1, nil
	}
	said, err := strconv.ParseInt(string(num), 10, 16)
	if err != nil || said < 1 {
		return 0, fmt.Errorf("INNER_NUM is %q", num)
	}
	if from, err := strconv.ParseInt(string(base), 10, 64); err != nil || from != m.QueueOffset {
		return 0, fmt.Errorf("INNER_BASE is %q, the queue offset %d", base, m.QueueOffset)
	}
	return int32(said), nil
}

// countIn returns how many messages a stored record puts into q, 0 when it has no place there: an inner batch in a queue
// of single messages, or one that contradicts itself.
func countIn(q *queue, m *codec.Message, logger *slog.Logger) int32 {
	inner := m.SysFlag&codec.SysInnerBatch != 0
	if !q.isBatch() {
		if inner {
			return 0
		}
		return 1
	}
	n, err := innerCount(m)
	if err != nil {
		logger.Error("inner batch contradicts itself, it gets no entry", "topic", q.topic, "queue", q.id, "phys", m.PhysOffset, "err", err)
		return 0
	}
	return n
}
