package namesrv

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// The file of the routes, routes-PORT.json in apogee/ beside the key-value configuration. Apache keeps none: after a restart its name
// server knows nothing until brokers have registered.
//
//	apogee-routes 1 CRC32C LENGTH\n     the checksum in hex and the length in bytes of what follows
//	{"brokers":[…],"topics":[…],"mappings":…}
const snapshotHead = "apogee-routes 1 %08x %d\n"

// maxSnapshotBytes bounds the file, read or written.
const maxSnapshotBytes = 256 << 20

// settleAfter is how long after its first registration a broker may still register topics of before the restart, in parts.
const settleAfter = 10 * time.Second

var errSnapshotDamaged = errors.New("it is damaged")

// snapshot is what the routes were. Versions are not in it: a stale broker registers anew, with all its topics.
type snapshot struct {
	Brokers  []snapshotBroker                                   `json:"brokers"`
	Topics   []snapshotTopic                                    `json:"topics"`
	Mappings map[string]map[string]*codec.TopicQueueMappingInfo `json:"mappings"`
}

// snapshotBroker is one address of a broker.
type snapshotBroker struct {
	Cluster       string   `json:"cluster"`
	Name          string   `json:"name"`
	ID            int64    `json:"id"`
	Addr          string   `json:"addr"`
	HAAddr        string   `json:"haAddr"`
	ActingMaster  bool     `json:"actingMaster"`
	Zone          string   `json:"zone"`
	TimeoutMs     int64    `json:"timeoutMs"`
	FilterServers []string `json:"filterServers"`

	Advertised map[string]string `json:"advertised,omitempty"`
}

// snapshotTopic is a topic with its queues on each broker.
type snapshotTopic struct {
	Name   string            `json:"name"`
	Queues []codec.QueueData `json:"queues"`
}

// leftover are topics of a broker name that come from a snapshot.
type leftover struct {
	topics map[string]bool
	// since is when the broker registered, zero while it has not.
	since time.Time
}

// dropped says of how many topics a broker name has got rid.
type dropped struct {
	name   string
	topics int
}

// snapshot copies the tables, with the count of changes that it holds.
func (r *routes) snapshot() (snapshot, int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := snapshot{Mappings: make(map[string]map[string]*codec.TopicQueueMappingInfo, len(r.mappings))}
	for name, m := range r.brokers {
		for id, addr := range m.addrs {
			b := snapshotBroker{Cluster: m.cluster, Name: name, ID: id, Addr: addr, ActingMaster: m.actingMaster, Zone: m.zone}
			if l := r.lives[brokerAddr{m.cluster, addr}]; l != nil {
				b.HAAddr, b.TimeoutMs, b.FilterServers, b.Advertised = l.haAddr, l.timeout.Milliseconds(), l.filterServers, l.advertised
				s.Brokers = append(s.Brokers, b)
			}
		}
	}
	slices.SortFunc(s.Brokers, func(a, b snapshotBroker) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	s.Topics = make([]snapshotTopic, 0, len(r.topics))
	for topic, queues := range r.topics {
		s.Topics = append(s.Topics, snapshotTopic{topic, slices.Clone(queues)})
	}
	for topic, byBroker := range r.mappings {
		s.Mappings[topic] = make(map[string]*codec.TopicQueueMappingInfo, len(byBroker))
		for broker, info := range byBroker {
			s.Mappings[topic][broker] = info // replaced as a whole, never changed
		}
	}
	return s, r.answers.changes.Load()
}

// restore puts a snapshot into empty tables. Its brokers are stale, and expire as if they had registered now.
func (r *routes) restore(s *snapshot, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range s.Brokers {
		timeout := time.Duration(b.TimeoutMs) * time.Millisecond
		reg := &registration{cluster: b.Cluster, name: b.Name, addr: b.Addr, id: b.ID, zone: b.Zone, actingMaster: &b.ActingMaster}
		r.joinLocked(reg, r.brokers[b.Name])
		l := &live{name: b.Name, id: b.ID, timeout: timeout, stale: true, haAddr: b.HAAddr, filterServers: b.FilterServers, advertised: b.Advertised}
		l.lastMs.Store(now.UnixMilli())
		r.lives[brokerAddr{b.Cluster, b.Addr}] = l
		if r.leftovers[b.Name] == nil {
			r.leftovers[b.Name] = &leftover{topics: make(map[string]bool)}
		}
	}
	for _, topic := range s.Topics {
		for _, queue := range topic.Queues {
			if left := r.leftovers[queue.BrokerName]; left != nil {
				left.topics[topic.Name] = true
				r.putQueueLocked(topic.Name, queue, true)
			}
		}
	}
	for topic, byBroker := range s.Mappings {
		for broker, info := range byBroker {
			if r.leftovers[broker] == nil || info == nil {
				continue
			}
			if r.mappings[topic] == nil {
				r.mappings[topic] = make(map[string]*codec.TopicQueueMappingInfo)
			}
			r.mappings[topic][broker] = info
		}
	}
}

// registeredLocked notes the topics that a broker has registered since the start.
func (r *routes) registeredLocked(broker string, table *codec.TopicConfigAndMapping, now time.Time) {
	left := r.leftovers[broker]
	if left == nil {
		return
	}
	if left.since.IsZero() {
		left.since = now
	}
	for name, config := range table.TopicConfigTable {
		if config.TopicName != "" {
			name = config.TopicName
		}
		delete(left.topics, name)
	}
}

// settle drops the topics that brokers have lost while the name server was away: they have registered, and not these.
func (r *routes) settle(now time.Time) (all []dropped) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, left := range r.leftovers {
		if left.since.IsZero() || now.Sub(left.since) < settleAfter {
			continue
		}
		delete(r.leftovers, name)
		if len(left.topics) == 0 {
			continue
		}
		all = append(all, dropped{name, len(left.topics)})
		r.dropTopicsLocked(name, func(topic string) bool { return left.topics[topic] })
		for topic := range left.topics {
			if delete(r.mappings[topic], name); len(r.mappings[topic]) == 0 {
				delete(r.mappings, topic)
			}
		}
	}
	return all
}

// encode returns the text of the file.
func (s *snapshot) encode() ([]byte, error) {
	body, err := codec.MarshalStandardJSON(s)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf(snapshotHead, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), len(body))
	return append([]byte(head), body...), nil
}

// decodeSnapshot reads the text of the file.
func decodeSnapshot(b []byte) (*snapshot, error) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	var sum uint32
	var length int
	if _, err := fmt.Sscanf(string(head)+"\n", snapshotHead, &sum, &length); err != nil {
		return nil, fmt.Errorf("%w: its first line is none of \"apogee-routes 1\"", errSnapshotDamaged)
	}
	if length != len(body) {
		return nil, fmt.Errorf("%w: it has %d bytes of %d", errSnapshotDamaged, len(body), length)
	}
	if got := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)); got != sum {
		return nil, fmt.Errorf("%w: its checksum is %08x and not %08x", errSnapshotDamaged, got, sum)
	}
	s := new(snapshot)
	if err := codec.UnmarshalJSON(body, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshotDamaged, err)
	}
	return s, nil
}
