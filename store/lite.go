package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// Lite topics: a message to a parent topic (message.type=LITE) that names a lite topic in __LITE_TOPIC is in a light message queue
// of that name, too. A lite topic has no configuration of its own and goes when its time is over. Apache: LiteUtil.
const (
	// LitePrefix begins the names of the queues of lite topics: %LMQ%$parent$lite.
	LitePrefix    = LMQPrefix + "$"
	liteSeparator = '$'
)

// AppendLiteQueue writes the name of a lite topic's queue.
func AppendLiteQueue[P, L string | []byte](dst []byte, parent P, lite L) []byte {
	dst = append(append(dst, LitePrefix...), parent...)
	return append(append(dst, liteSeparator), lite...)
}

// LiteQueue is AppendLiteQueue as a string.
func LiteQueue(parent, lite string) string { return LitePrefix + parent + string(liteSeparator) + lite }

// IsLiteQueue reports whether a name begins as that of a lite topic's queue does.
func IsLiteQueue[T string | []byte](name T) bool {
	return len(name) >= len(LitePrefix) && string(name[:len(LitePrefix)]) == LitePrefix
}

// PossibleLite reports whether a lite topic may have that name, and its queue one.
func PossibleLite[P, L string | []byte](parent P, lite L) bool {
	return len(parent) > 0 && len(lite) > 0 && !strings.ContainsAny(string(lite), "$,/\\\x00\x01\x02@") &&
		len(LitePrefix)+len(parent)+1+len(lite) <= maxRetryTopLen
}

// SplitLiteQueue takes the name of a lite topic's queue apart; false for another name.
func SplitLiteQueue(name string) (parent, lite string, ok bool) {
	if !IsLiteQueue(name) {
		return "", "", false
	}
	parent, lite, ok = strings.Cut(name[len(LitePrefix):], string(liteSeparator))
	return parent, lite, ok && parent != "" && lite != "" && strings.IndexByte(lite, liteSeparator) < 0
}

// EachLiteQueue calls fn for the queue of every lite topic, those of one parent if it is not empty, until fn is false. It holds no
// lock and walks over the whole table of queues.
func (s *Store) EachLiteQueue(parent string, fn func(name string, maxQueueOffset int64) bool) {
	prefix := LitePrefix
	if parent != "" {
		prefix = LiteQueue(parent, "")
	}
	for i := range s.queues.shards {
		for _, q := range s.queues.shards[i].table.Load().all() {
			if q.id == lmqQueueID && strings.HasPrefix(q.topic, prefix) && !fn(q.topic, q.max.Load()) {
				return
			}
		}
	}
}

// LMQs returns how many light message queues there are, and how many there may be.
func (s *Store) LMQs() (n int64, most int) { return s.queues.lmqs.Load(), s.opts.MaxLMQs }

// Queues returns how many queues there are.
func (s *Store) Queues() (n int) {
	for i := range s.queues.shards {
		n += s.queues.shards[i].len()
	}
	return n
}

// deleteBatch bounds how many topics go at once: closing a store waits for them.
const deleteBatch = 4096

// DeleteLiteQueues is DeleteTopic for many queues of lite topics.
func (s *Store) DeleteLiteQueues(names []string) error {
	for batch := range slices.Chunk(names, deleteBatch) {
		for _, name := range batch {
			if !IsLiteQueue(name) {
				return fmt.Errorf("%w: %q is no queue of a lite topic", ErrIllegal, name)
			}
		}
		if err := s.deleteTopics(batch); err != nil {
			return err
		}
	}
	return nil
}

// Forget drops a group's offsets in one topic, a pending reset too.
func (o *Offsets) Forget(group, topic string) {
	s := o.shard([]byte(group), []byte(topic))
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.findLocked([]byte(group), []byte(topic))
	if g == nil {
		return
	}
	s.removeLocked(string(s.key), g)
	o.entries.Add(-int64(len(g.queues)))
	for _, q := range g.queues {
		if q.reset != noOffset {
			o.resets.Add(-1)
		}
	}
	o.changed()
}

// EachLite calls fn for what groups have committed of lite topics, of one group if it is not empty. It walks over the whole table;
// fn is called under a lock of it and must not use it.
func (o *Offsets) EachLite(group string, fn func(group, queueName string, queueOffset int64)) {
	o.each(func(g *groupOffsets) bool {
		if (group == "" || g.group == group) && IsLiteQueue(g.topic) {
			if q, ok := g.queues[lmqQueueID]; ok && q.committed != noOffset {
				fn(g.group, g.topic, q.committed)
			}
		}
		return true
	})
}

// Entries returns how many groups have offsets in how many topics: the size of Java's table.
func (o *Offsets) Entries() (n int) {
	for i := range o.shards {
		o.shards[i].mu.Lock()
		n += len(o.shards[i].groups)
		o.shards[i].mu.Unlock()
	}
	return n
}

// AppendLMQOffsets reads the queue offsets that stored records have in a light message queue.
func AppendLMQOffsets(dst []int64, name string, parts [][]byte) []int64 {
	var m codec.Message
	for _, part := range parts {
		for len(part) > 0 {
			n, err := codec.DecodeMessage(part, &m)
			if err != nil {
				return dst
			}
			part = part[n:]
			for it := lmqsOf(m.Topic, m.Properties); it.next(); {
				if string(it.Name) == name {
					dst = append(dst, it.QueueOffset)
					break
				}
			}
		}
	}
	return dst
}
