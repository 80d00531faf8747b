package admin

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// maxStaticQueues bounds the queues of a static topic that the commands lay out.
const maxStaticQueues = 1 << 16

// Kinds of mapping files. Apache: TopicRemappingDetailWrapper.
const (
	mappingUpdate = "CREATE_OR_UPDATE"
	mappingMove   = "REMAPPING"
)

func staticTopicCommands() []spec {
	where := [][]string{{"clusters", "brokers"}}
	options := func(verb string, own ...option) []option {
		return slices.Concat([]option{
			text("c", "clusters", "CLUSTER,CLUSTER", verb+" every broker of these clusters").completed(completeClusters),
			text("b", "brokers", "NAME,NAME", verb+" the brokers of these names"),
			topicOption("name of the topic"),
		}, own, []option{text("mf", "mapFile", "FILE", "give the brokers the mapping in this file, written by an earlier run"),
			boolean("fr", "forceReplace", "with -mf: the brokers take it even if they have a newer one")})
	}
	return []spec{
		{name: "updateStaticTopic", short: "Create a static topic, or give it more queues", oneOf: where, run: updateStaticTopic,
			long: "The queues of a static topic keep their number when they move between brokers. The mapping before and after goes to files in the\n" +
				"folder of temporary files.",
			options: options("spread the new queues over", number("qn", "totalQueueNum", "N", "queues the topic has in all").must())},
		{name: "remappingStaticTopic", short: "Move the queues of a static topic to other brokers", oneOf: where, run: remappingStaticTopic,
			long: "Only the brokers named lead the queues then; messages stay where they are and are read from there. The mapping before and after\n" +
				"goes to files in the folder of temporary files.",
			options: options("move the queues to")},
	}
}

// mappingFile is a mapping as files hold it. Apache: TopicRemappingDetailWrapper.
type mappingFile struct {
	BrokerConfigMap map[string]*codec.TopicConfig `json:"brokerConfigMap"`
	BrokerToMapIn   []string                      `json:"brokerToMapIn"`
	BrokerToMapOut  []string                      `json:"brokerToMapOut"`
	Epoch           int64                         `json:"epoch"`
	Topic           string                        `json:"topic"`
	Type            string                        `json:"type"`
}

// mappingMember is the member of a topic's configuration that makes it static.
const mappingMember = "mappingDetail"

// hostingOf takes the mapping out of a configuration; a topic that is not static has none.
func hostingOf(config *codec.TopicConfig) (*hosting, error) {
	h := &hosting{config: config}
	for i, member := range config.Unknown {
		if member.Name == mappingMember && !bytes.Equal(member.Value, []byte("null")) {
			h.detail = &codec.TopicQueueMappingDetail{}
			if err := codec.UnmarshalJSON(member.Value, h.detail); err != nil {
				return nil, fmt.Errorf("mapping of topic %s: %w", config.TopicName, err)
			}
			if h.detail.HostedQueues == nil {
				h.detail.HostedQueues = map[int32][]codec.LogicQueueMappingItem{}
			}
			config.Unknown = slices.Delete(slices.Clone(config.Unknown), i, i+1)
			break
		}
	}
	return h, nil
}

// save writes a mapping where Apache's tool does and returns the name of the file.
func (f *mappingFile) save(m mapping, suffix string) (string, error) {
	f.BrokerConfigMap = map[string]*codec.TopicConfig{}
	for broker, h := range m {
		config := *h.config
		if h.detail != nil {
			text, err := codec.MarshalJSON(h.detail)
			if err != nil {
				return "", err
			}
			config.Unknown = append(slices.Clone(config.Unknown), codec.UnknownField{Name: mappingMember, Value: text})
		}
		f.BrokerConfigMap[broker] = &config
	}
	b, err := codec.MarshalJSON(f)
	if err != nil {
		return "", err
	}
	name := filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d%s", f.Topic, f.Epoch, suffix))
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return "", fmt.Errorf("keep the mapping, without which nothing is changed: %w", err)
	}
	return name, nil
}

// readMapping reads a file that save or Apache's tool wrote.
func readMapping(path, topic, kind string) (*mappingFile, mapping, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the mapping: %w", err)
	}
	var f mappingFile
	if err := codec.UnmarshalJSON(b, &f); err != nil {
		return nil, nil, fmt.Errorf("%s is no file of a mapping: %w", path, err)
	}
	if f.Topic != topic || f.Type != kind || len(f.BrokerConfigMap) == 0 {
		return nil, nil, fmt.Errorf("%s holds a mapping %s of topic %q, not %s of %q", path, f.Type, f.Topic, kind, topic)
	}
	m := mapping{}
	for broker, config := range f.BrokerConfigMap {
		if config == nil {
			return nil, nil, fmt.Errorf("%s has nothing for broker %s", path, broker)
		}
		if m[broker], err = hostingOf(config); err != nil {
			return nil, nil, fmt.Errorf("%s: broker %s: %w", path, broker, err)
		}
	}
	if _, err := m.check(topic); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, broker := range slices.Concat(f.BrokerToMapIn, f.BrokerToMapOut) {
		if m[broker] == nil {
			return nil, nil, fmt.Errorf("%s has nothing for broker %s, to or from which queues move", path, broker)
		}
	}
	return &f, m, nil
}

// hostingAt asks a broker what it has of a topic; nil when it has no such topic.
func (s *session) hostingAt(addr, topic string) (*hosting, error) {
	var config codec.TopicConfig
	err := s.brokerBody(addr, request(codec.GetTopicConfig, "topic", topic, "lo", true), &config)
	if answered(err) == codec.TopicNotExist {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return hostingOf(&config)
}

// addStatic adds the queues of a static topic to the physical ones, which hold them. Apache: MQAdminUtils.convertPhysicalTopicStats.
func (s *session) addStatic(topic string, table map[codec.MessageQueue]codec.TopicOffset) error {
	route, err := s.route(topic)
	if err != nil {
		return err
	}
	m := mapping{}
	for _, b := range route.BrokerDatas {
		addr := selectAddr(b)
		if addr == "" {
			continue
		}
		h, err := s.hostingAt(addr, topic)
		if err != nil {
			return fmt.Errorf("status of topic %s: %w", topic, err)
		}
		if h != nil && h.detail != nil {
			m[b.BrokerName] = h
		}
	}
	queues, err := m.leaders()
	if err != nil {
		return fmt.Errorf("mapping of topic %s: %w", topic, err)
	}
	for id, q := range queues {
		known := slices.DeleteFunc(slices.Clone(q.items), func(item codec.LogicQueueMappingItem) bool { return item.LogicOffset < 0 })
		if len(known) == 0 {
			continue
		}
		oldest, newest := known[0], known[len(known)-1]
		first, hasFirst := table[codec.MessageQueue{Topic: topic, BrokerName: oldest.Bname, QueueID: oldest.QueueID}]
		last, hasLast := table[codec.MessageQueue{Topic: topic, BrokerName: newest.Bname, QueueID: newest.QueueID}]
		if !hasFirst || !hasLast {
			continue
		}
		last.MinOffset, last.MaxOffset = beginIn(oldest, first.MinOffset), newest.LogicOffset+max(last.MaxOffset-newest.StartOffset, 0)
		table[codec.MessageQueue{Topic: topic, BrokerName: logicalBroker(m[q.broker].detail.Scope), QueueID: id}] = last
	}
	return nil
}

// logicalBroker is the name under which the queues of static topics appear. Apache: TopicQueueMappingUtils.getMockBrokerName.
func logicalBroker(scope string) string {
	if scope == globalScope {
		return "__syslo__global__"
	}
	return "__syslo__" + scope
}

// staticChange is a run of one of the commands.
type staticChange struct {
	s       *session
	topic   string
	info    *codec.ClusterInfo
	targets []string
	force   bool
	m       mapping
	file    mappingFile
	before  string // names of files
	after   string
}

// newStaticChange finds the brokers and reads what they know of the topic, or what the file says. Apache: MQAdminUtils.examineTopicConfigAll.
func (s *session) newStaticChange(kind string) (*staticChange, error) {
	c := &staticChange{s: s, topic: s.text("topic"), m: mapping{}, force: s.boolean("forceReplace", false)}
	var err error
	if c.info, err = s.clusterInfo(); err != nil {
		return nil, err
	}
	if s.given("mapFile") {
		f, m, err := readMapping(s.text("mapFile"), c.topic, kind)
		if err != nil {
			return nil, err
		}
		c.file, c.m, c.after = *f, m, s.text("mapFile")
		return c, nil
	}
	if c.force {
		return nil, usageError{"-fr (forceReplace) goes with -mf (mapFile): a new mapping needs no force"}
	}
	if c.targets, err = c.chosen(); err != nil {
		return nil, err
	}
	for _, broker := range sortedKeys(c.info.BrokerAddrTable) {
		addr, err := c.master(broker)
		if err != nil {
			return nil, err
		}
		switch h, err := s.hostingAt(addr, c.topic); {
		case err != nil:
			return nil, err
		case h != nil:
			c.m[broker] = h
		}
	}
	c.file = mappingFile{Topic: c.topic, Type: mappingUpdate, BrokerToMapIn: []string{}, BrokerToMapOut: []string{}}
	if c.file.Epoch, _, err = c.m.version(c.topic); err != nil {
		return nil, err
	}
	if len(c.m) == 0 {
		c.file.Epoch = s.now().UnixMilli()
	}
	return c, nil
}

// chosen returns the names of the brokers that -b or -c mean.
func (c *staticChange) chosen() ([]string, error) {
	var names []string
	split := func(option string) []string {
		return strings.FieldsFunc(c.s.text(option), func(r rune) bool { return r == ',' || r == ' ' })
	}
	for _, cluster := range split("clusters") {
		of, err := brokerNames(c.info, cluster)
		if err != nil {
			return nil, err
		}
		names = append(names, of...)
	}
	names = append(names, split("brokers")...)
	if len(names) == 0 {
		return nil, usageError{"-b (brokers) or -c (clusters) names no broker"}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		if _, err := c.master(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (c *staticChange) master(broker string) (string, error) {
	data, ok := c.info.BrokerAddrTable[broker]
	if !ok {
		return "", fmt.Errorf("the name server knows no broker %s; it has %s", broker, listOf(sortedKeys(c.info.BrokerAddrTable)))
	}
	if addr := data.BrokerAddrs[masterID]; addr != "" {
		return addr, nil
	}
	return "", fmt.Errorf("broker %s has no master that is alive; a static topic is changed when all brokers are there", broker)
}

// keep writes the mapping before or after.
func (c *staticChange) keep(word, suffix string) (string, error) {
	name, err := c.file.save(c.m, suffix)
	if err == nil {
		c.s.say("The %s mapping data is written to file %s\n", word, name)
	}
	return name, err
}

// complete adds the brokers of the same clusters which have no queues: they have to know the topic to be asked for it. Apache:
// MQAdminUtils.completeNoTargetBrokers.
func (c *staticChange) complete() error {
	epoch, total, err := c.m.version(c.topic)
	if err != nil {
		return err
	}
	for _, names := range c.info.ClusterAddrTable {
		if !slices.ContainsFunc(names, func(name string) bool { return c.m[name] != nil }) {
			continue
		}
		for _, name := range names {
			if c.m[name] == nil {
				c.m[name] = newHosting(c.topic, name, total, epoch)
			}
		}
	}
	for broker := range c.m {
		if _, err := c.master(broker); err != nil {
			return err
		}
	}
	return nil
}

// put gives brokers their part of the mapping. Apache: MQAdminExt.createStaticTopic.
func (c *staticChange) put(brokers []string) error {
	for _, broker := range brokers {
		addr, err := c.master(broker)
		if err != nil {
			return c.halfDone(err)
		}
		config := c.m[broker].config
		req, err := withBody(request(codec.UpdateAndCreateStaticTopic, "topic", c.topic, "defaultTopic", "TBW102",
			"readQueueNums", config.ReadQueueNums, "writeQueueNums", config.WriteQueueNums, "perm", config.Perm,
			"topicFilterType", config.TopicFilterType, "topicSysFlag", config.TopicSysFlag, "order", config.Order, "force", c.force),
			c.m[broker].detail)
		if err != nil {
			return err
		}
		if _, err := c.s.broker(addr, req); err != nil {
			return c.halfDone(err)
		}
	}
	return nil
}

// halfDone says how to go on when brokers may have part of a change.
func (c *staticChange) halfDone(err error) error {
	return fmt.Errorf("%w; some brokers may have the new mapping and others not: repeat the command with -mf %s", err, c.after)
}

func (c *staticChange) done() {
	c.s.result(record{{"topic", c.topic}, {"epoch", c.file.Epoch}, {"before", orNil(c.before)}, {"after", c.after}, {"brokers", sortedKeys(c.m)}})
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// updateStaticTopic creates a static topic or gives it more queues. Apache: UpdateStaticTopicSubCommand.
func updateStaticTopic(s *session) error {
	queues := s.number("totalQueueNum", 0)
	if queues < 1 || queues > maxStaticQueues {
		return usageError{fmt.Sprintf("-qn (totalQueueNum) is 1 to %d, not %d", maxStaticQueues, queues)}
	}
	c, err := s.newStaticChange(mappingUpdate)
	if err != nil {
		return err
	}
	if !s.given("mapFile") {
		if c.before, err = c.keep("old", ".before"); err != nil {
			return err
		}
		if err := c.m.grow(c.topic, int32(queues), c.targets, s.now().UnixMilli()); err != nil {
			return err
		}
		c.file.Epoch, _, _ = c.m.version(c.topic)
		if c.after, err = c.keep("new", ".after"); err != nil {
			return err
		}
	}
	if err := c.complete(); err != nil {
		return err
	}
	if err := c.put(sortedKeys(c.m)); err != nil {
		return err
	}
	c.done()
	return nil
}

// remappingStaticTopic moves queues to other brokers. Apache: RemappingStaticTopicSubCommand.
func remappingStaticTopic(s *session) error {
	c, err := s.newStaticChange(mappingMove)
	if err != nil {
		return err
	}
	if !s.given("mapFile") {
		if len(c.m) == 0 {
			return fmt.Errorf("no broker has a topic %s", c.topic)
		}
		if c.before, err = c.keep("old", ".before"); err != nil {
			return err
		}
		if c.file.BrokerToMapIn, c.file.BrokerToMapOut, err = c.m.move(c.topic, c.targets, s.now().UnixMilli()); err != nil {
			return err
		}
		c.file.Type = mappingMove
		c.file.Epoch, _, _ = c.m.version(c.topic)
		if c.after, err = c.keep("old", ".after"); err != nil {
			return err
		}
	}
	if err := c.complete(); err != nil {
		return err
	}
	if err := c.moveQueues(); err != nil {
		return err
	}
	c.done()
	return nil
}

// moveQueues has the new leaders take messages first, whose offsets are not yet known, then stops the old ones, and when those are at rest says
// where the new ones begin. Apache: MQAdminUtils.remappingStaticTopic.
func (c *staticChange) moveQueues() error {
	in, out := c.file.BrokerToMapIn, c.file.BrokerToMapOut
	for _, step := range []func() error{
		func() error { return c.put(in) },
		func() error { return c.put(out) },
		func() error { return c.decide(out) },
		func() error { return c.put(in) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return c.put(slices.DeleteFunc(sortedKeys(c.m), func(broker string) bool { return slices.Contains(in, broker) || slices.Contains(out, broker) }))
}

// decide sets where the new stretches begin, by the ends of the queues on the old leaders. Old leaders also hold queues that moved earlier, of
// which they never heard where the next stretch begins: only the queues as their new leaders have them count.
func (c *staticChange) decide(out []string) error {
	queues, err := c.m.leaders()
	if err != nil {
		return err
	}
	for _, broker := range out {
		addr, err := c.master(broker)
		if err != nil {
			return c.halfDone(err)
		}
		var stats codec.TopicStatsTable
		if err := c.s.brokerBody(addr, request(codec.GetTopicStatsInfo, "topic", c.topic), &stats); err != nil {
			return c.halfDone(err)
		}
		for _, id := range sortedKeys(queues) {
			items := queues[id].items
			last := len(items) - 1
			if last < 1 || items[last].LogicOffset >= 0 || items[last-1].Bname != broker {
				continue
			}
			old := items[last-1]
			at, known := stats.OffsetTable[codec.MessageQueue{Topic: c.topic, BrokerName: broker, QueueID: old.QueueID}]
			if !known || at.MaxOffset < old.StartOffset {
				return c.halfDone(fmt.Errorf("broker %s does not say where its queue %d of topic %s ends", broker, old.QueueID, c.topic))
			}
			items[last].LogicOffset = beginOf(old, at.MaxOffset)
			c.m[broker].detail.HostedQueues[id] = slices.Clone(items)
		}
	}
	return nil
}
