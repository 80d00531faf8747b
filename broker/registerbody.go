package broker

import (
	"maps"
	"slices"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// registrationBytes is what one registration may hold. Frames end at 16 MiB, here and with Apache; what is longer is registered in parts.
const registrationBytes = 8 << 20

// registerBody is the encoded topics of a registration, made once for all name servers and again when their version is another one.
type registerBody struct {
	topics     func() codec.TopicConfigAndMapping
	compressed bool
	// partTopics is the number of topics in a part; 0 splits only what is longer than maxBytes.
	partTopics, maxBytes int

	// mu guards the fields below.
	mu      sync.Mutex
	made    bool
	version codec.DataVersion
	bodies  [][]byte
}

func (b *registerBody) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = false
}

// encoded returns the bodies of the registrations that together tell all topics, and the version of the topics.
func (b *registerBody) encoded() ([][]byte, codec.DataVersion, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	table := b.topics()
	if b.made && b.version == table.DataVersion {
		return b.bodies, b.version, nil
	}
	bodies, err := b.encode(&table)
	if err != nil {
		return nil, b.version, err
	}
	b.bodies, b.version, b.made = bodies, table.DataVersion, true
	return b.bodies, b.version, nil
}

func (b *registerBody) encode(table *codec.TopicConfigAndMapping) ([][]byte, error) {
	partTopics := b.partTopics
	if partTopics <= 0 || len(table.TopicConfigTable) <= partTopics {
		whole, err := b.encodeOne(table)
		if err != nil || len(whole) <= b.maxBytes || len(table.TopicConfigTable) < 4 {
			return [][]byte{whole}, err
		}
		// A part of one topic could not be a broker's first registration.
		partTopics = max(2, len(table.TopicConfigTable)/(1+2*len(whole)/b.maxBytes))
	}
	var bodies [][]byte
	for _, part := range splitTopics(table, partTopics) {
		body, err := b.encodeOne(part)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func (b *registerBody) encodeOne(table *codec.TopicConfigAndMapping) ([]byte, error) {
	return codec.EncodeRegisterBrokerBody(&codec.RegisterBrokerBody{TopicConfigSerializeWrapper: *table}, b.compressed, codec.Version)
}

// splitTopics returns parts of the table with so many topics each. A name server takes over changed topics only with a version that it
// does not hold yet, so every part has one of its own; the last one has the true version and, as Apache's, the static topics.
// Apache: BrokerController.registerBrokerAll with enableSplitRegistration.
func splitTopics(table *codec.TopicConfigAndMapping, partTopics int) []*codec.TopicConfigAndMapping {
	var parts []*codec.TopicConfigAndMapping
	for names := range slices.Chunk(slices.Sorted(maps.Keys(table.TopicConfigTable)), partTopics) {
		part := &codec.TopicConfigAndMapping{DataVersion: table.DataVersion, MappingDataVersion: table.MappingDataVersion,
			TopicConfigTable: make(map[string]*codec.TopicConfig, len(names))}
		part.DataVersion.Counter = -1 - int64(len(parts)) // no version of the topics is negative
		for _, name := range names {
			part.TopicConfigTable[name] = table.TopicConfigTable[name]
		}
		parts = append(parts, part)
	}
	last := parts[len(parts)-1]
	last.DataVersion = table.DataVersion
	last.TopicQueueMappingDetailMap, last.TopicQueueMappingInfoMap = table.TopicQueueMappingDetailMap, table.TopicQueueMappingInfoMap
	return parts
}
