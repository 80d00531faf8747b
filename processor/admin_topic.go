package processor

import (
	"fmt"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// UPDATE_AND_CREATE_TOPIC 17, UPDATE_AND_CREATE_TOPIC_LIST 18, GET_ALL_TOPIC_CONFIG 21, GET_TOPIC_STATS_INFO 202,
// DELETE_TOPIC_IN_BROKER 215, QUERY_TOPIC_CONSUME_BY_WHO 300, GET_SYSTEM_TOPIC_LIST_FROM_BROKER 305, GET_TOPIC_CONFIG 351.
//
// Behavior:
// * A topic that would not change is answered with success. Attributes come as changes, "+name=value" and "-name".
// * What changed is on disk when the answer leaves, and the name servers that can be reached have been told.
// * 21 answers a page of the table to a request that asks for one, all of it otherwise.
// * Deleting a topic deletes its queues and offsets, its lite topics, and the retry topics that POP groups have for it.
//
// Apache: AdminBrokerProcessor.

const (
	// unsetRemark is what Java's answers carry whose handlers set nothing but the code.
	unsetRemark = "not set any response code"
	// maxTopicQueues bounds the queues of a topic; Java has no bound.
	maxTopicQueues = 65_536
	// pageEntries is splitMetadataSize.
	pageEntries = 2000

	attributeMessageType = "message.type"
	mixedMessageType     = "MIXED"
)

// createTopic answers UPDATE_AND_CREATE_TOPIC.
func (p *Processor) createTopic(req *remoting.Request) (*codec.Command, error) {
	var h codec.CreateTopicHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if err := p.checkTopicName(h.Topic); err != nil {
		return nil, err
	}
	for _, field := range [...]string{"readQueueNums", "writeQueueNums", "perm", "topicFilterType", "order"} {
		if _, ok := req.Field(field); !ok {
			return nil, missing(field)
		}
	}
	cfg := codec.NewTopicConfig(h.Topic)
	cfg.ReadQueueNums, cfg.WriteQueueNums, cfg.Perm, cfg.Order = h.ReadQueueNums, h.WriteQueueNums, h.Perm, h.Order
	cfg.TopicFilterType = h.TopicFilterType
	if h.TopicSysFlag != nil {
		cfg.TopicSysFlag = *h.TopicSysFlag
	}
	var err error
	if cfg.Attributes, err = parseAttributes(h.Attributes); err != nil {
		return nil, err
	}
	return p.putTopics(req, []*codec.TopicConfig{cfg})
}

// createTopics answers UPDATE_AND_CREATE_TOPIC_LIST.
func (p *Processor) createTopics(req *remoting.Request) (*codec.Command, error) {
	var body codec.CreateTopicListBody
	if err := decodeBody(req, &body); err != nil {
		return nil, err
	}
	return p.putTopics(req, body.TopicConfigList)
}

// putTopics checks topics and puts them into the table, all or none.
func (p *Processor) putTopics(req *remoting.Request, cfgs []*codec.TopicConfig) (*codec.Command, error) {
	for _, cfg := range cfgs {
		if cfg == nil {
			return nil, missing("topicConfig")
		}
		if err := p.checkTopic(cfg); err != nil {
			return nil, err
		}
	}
	changed, err := p.topics.PutAll(cfgs)
	if err != nil {
		return nil, tableError(err)
	}
	if changed {
		for _, cfg := range cfgs {
			p.log.Info("topic created or changed", "topic", cfg.TopicName, "client", req.Conn.RemoteAddr())
		}
		p.awaitRegistered()
	}
	resp := req.Response(codec.Success)
	resp.Remark = unsetRemark
	return resp, nil
}

// awaitRegistered returns when a topic just created can be found by clients, as in Java.
func (p *Processor) awaitRegistered() {
	if p.opts.AwaitRegistered != nil {
		p.opts.AwaitRegistered()
	}
}

// checkTopicName refuses a name that no topic may have, or that belongs to the broker.
func (p *Processor) checkTopicName(name string) error {
	if err := store.ValidateTopic(name); err != nil {
		return refuse(codec.InvalidParameter, "%v", err)
	}
	if p.live().ValidateSystemTopic && p.topics.IsSystem(name) {
		return refuse(codec.InvalidParameter, "The topic[%s] is conflict with system topic.", name)
	}
	return nil
}

func (p *Processor) checkTopic(cfg *codec.TopicConfig) error {
	if err := p.checkTopicName(cfg.TopicName); err != nil {
		return err
	}
	if cfg.Attributes["+"+attributeMessageType] == mixedMessageType && !p.live().MixedMessageType {
		return refuse(codec.InvalidParameter, "MIXED message type is not supported.")
	}
	if t := cfg.TopicFilterType; t != codec.FilterSingleTag && t != codec.FilterMultiTag {
		return refuse(codec.SystemError, "No enum constant org.apache.rocketmq.common.TopicFilterType.%s", t)
	}
	for _, queues := range [...]int32{cfg.ReadQueueNums, cfg.WriteQueueNums} {
		if queues < 0 || queues > maxTopicQueues {
			return refuse(codec.InvalidParameter, "%d queues for topic[%s], must be 0 to %d", queues, cfg.TopicName, maxTopicQueues)
		}
	}
	return nil
}

// parseAttributes reads "+name=value,-name"; the signs stay. Apache: AttributeParser.parseToMap.
func parseAttributes(text string) (map[string]string, error) {
	changes := make(map[string]string)
	if text == "" {
		return changes, nil
	}
	for change := range strings.SplitSeq(strings.TrimRight(text, ","), ",") {
		key, value, isSet := strings.Cut(change, "=")
		switch {
		case isSet && !strings.Contains(key, "+"):
			return nil, refuse(codec.SystemError, "add/alter attribute format is wrong: %s", key)
		case isSet && value == "":
			return nil, refuse(codec.SystemError, "attribute without a value: %s", key)
		case !isSet && !strings.Contains(key, "-"):
			return nil, refuse(codec.SystemError, "delete attribute format is wrong: %s", key)
		}
		if _, twice := changes[key]; twice {
			return nil, refuse(codec.SystemError, "key duplication: %s", key)
		}
		changes[key] = value
	}
	return changes, nil
}

// deleteTopic answers DELETE_TOPIC_IN_BROKER; a topic that does not exist is a success.
func (p *Processor) deleteTopic(req *remoting.Request) (*codec.Command, error) {
	var h codec.DeleteTopicHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if strings.TrimSpace(h.Topic) == "" {
		return nil, refuse(codec.InvalidParameter, "The specified topic is blank.")
	}
	if p.live().ValidateSystemTopic && p.topics.IsSystem(h.Topic) {
		return nil, refuse(codec.InvalidParameter, "The topic[%s] is conflict with system topic.", h.Topic)
	}
	names := []string{h.Topic}
	for _, group := range p.offsets.GroupsOf(h.Topic) {
		for _, retry := range [...]string{store.RetryTopic(group + "+" + h.Topic), store.RetryTopic(group + "_" + h.Topic)} {
			if _, ok := p.topics.Get(retry); ok {
				names = append(names, retry)
			}
		}
	}
	if err := p.deleteLites(h.Topic); err != nil {
		return nil, err
	}
	for _, name := range names {
		existed, err := p.topics.Delete(name)
		if err != nil {
			return nil, err
		}
		if p.opts.Mappings != nil {
			if err := p.opts.Mappings.Delete(name); err != nil {
				return nil, err
			}
		}
		p.popping.state.Forget(func(topic, _ string) bool { return topic == name })
		p.offsets.DeleteTopic(name)
		if p.opts.Timer != nil {
			p.opts.Timer.RemoveTopic(name)
		}
		p.opts.Txn.RemoveTopic(name)
		if err := p.store.DeleteTopic(name); err != nil {
			return nil, err
		}
		p.log.Info("topic deleted", "topic", name, "existed", existed, "client", req.Conn.RemoteAddr())
	}
	return req.Response(codec.Success), nil
}

// topicConfig answers GET_TOPIC_CONFIG.
func (p *Processor) topicConfig(req *remoting.Request) (*codec.Command, error) {
	name, _ := req.Field("topic")
	cfg, ok := p.topics.GetBytes(name)
	if !ok {
		return nil, refuse(codec.TopicNotExist, "No topic in this broker. topic: %s", javaText(name))
	}
	cfg, err := p.withMapping(cfg)
	if err != nil {
		return nil, err
	}
	return jsonResponse(req, cfg)
}

// allTopics answers GET_ALL_TOPIC_CONFIG.
func (p *Processor) allTopics(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetAllTopicConfigHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	table, version := p.topics.Snapshot()
	total := len(table)
	if asksForPage(req, "dataVersion", "topicSeq", "maxTopicNum") {
		table = page(table, h.DataVersion, version, h.TopicSeq, h.MaxTopicNum)
	}
	details, mappingVersion := p.mappings()
	resp, err := jsonResponse(req, codec.TopicConfigAndMapping{
		DataVersion: version, TopicConfigTable: table, MappingDataVersion: mappingVersion, TopicQueueMappingDetailMap: details,
		TopicQueueMappingInfoMap: map[string]*codec.TopicQueueMappingInfo{},
	})
	if err == nil {
		resp.Header = &codec.GetAllTopicConfigResponse{TotalTopicNum: int32(total)}
	}
	return resp, err
}

// asksForPage reports whether a request for a table has one of the fields that ask for a page of it.
func asksForPage(req *remoting.Request, fields ...string) bool {
	for _, field := range fields {
		if _, ok := req.Field(field); ok {
			return true
		}
	}
	return false
}

// page cuts a page out of a table in the order of the names. It begins anew when the table has changed since the version seen.
// Apache: TopicConfigManager.subTopicConfigTable.
func page[V any](table map[string]V, seen string, now codec.DataVersion, first int32, most *int32) map[string]V {
	var version codec.DataVersion
	if strings.TrimSpace(seen) == "" || codec.UnmarshalJSON([]byte(seen), &version) != nil || version != now {
		first = 0
	}
	size := pageEntries
	if most != nil {
		size = min(size, int(max(*most, 0)))
	}
	names := sortedKeys(table)
	from := min(max(int(first), 0), len(names))
	cut := make(map[string]V, size)
	for _, name := range names[from:min(from+size, len(names))] {
		cut[name] = table[name]
	}
	return cut
}

// topicStats answers GET_TOPIC_STATS_INFO.
func (p *Processor) topicStats(req *remoting.Request) (*codec.Command, error) {
	name, _ := req.Field("topic")
	cfg, ok := p.topics.GetBytes(name)
	if !ok {
		return nil, refuse(codec.TopicNotExist, "topic[%s] not exist", javaText(name))
	}
	table := codec.TopicStatsTable{OffsetTable: make(map[codec.MessageQueue]codec.TopicOffset)}
	for queueID := range max(cfg.ReadQueueNums, cfg.WriteQueueNums) {
		offset := codec.TopicOffset{
			MinOffset: max(p.store.MinQueueOffset(cfg.TopicName, queueID), 0),
			MaxOffset: max(p.store.MaxQueueOffset(cfg.TopicName, queueID), 0),
		}
		if offset.MaxOffset > 0 {
			offset.LastUpdateTimestampMs = p.store.StoreTimeAt(cfg.TopicName, queueID, offset.MaxOffset-1)
		}
		table.OffsetTable[p.queueOf(cfg.TopicName, queueID)] = offset
	}
	data, _ := p.stats.traffic.data("TOPIC_PUT_NUMS", cfg.TopicName, "")
	table.TopicPutTPS = data.StatsMinute.TPS
	return jsonResponse(req, table)
}

// queueOf names a queue of this broker.
func (p *Processor) queueOf(topic string, queueID int32) codec.MessageQueue {
	return codec.MessageQueue{BrokerName: p.live().BrokerName, QueueID: queueID, Topic: topic}
}

// groupsOfTopic answers QUERY_TOPIC_CONSUME_BY_WHO: groups that subscribe now, and those that have offsets.
func (p *Processor) groupsOfTopic(req *remoting.Request) (*codec.Command, error) {
	name, ok := req.Field("topic")
	if !ok {
		return nil, missing("topic")
	}
	groups := make(map[string]bool)
	for _, group := range append(p.clients.SubscribersOf(string(name)), p.offsets.GroupsOf(string(name))...) {
		groups[group] = true
	}
	return jsonResponse(req, codec.GroupList{GroupList: sortedKeys(groups)})
}

// systemTopics answers GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
func (p *Processor) systemTopics(req *remoting.Request) (*codec.Command, error) {
	return jsonResponse(req, codec.TopicList{TopicList: p.topics.SystemTopics()})
}

// brokerAddr is the address that clients are given.
func (p *Processor) brokerAddr() string { return fmt.Sprint(p.opts.StoreHost) }
