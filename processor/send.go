package processor

import (
	"strings"
	"unsafe"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// SEND_MESSAGE 10, SEND_MESSAGE_V2 310, SEND_BATCH_MESSAGE 320. The header's batch flag, not the code, tells a batch (see
// sendbatch.go).
//
// Behavior:
// * An unknown topic is created after the example of the default topic in the request, mostly TBW102.
// * The topic's write permission is not looked at: clients read it from the route.
// * A message to a %RETRY% topic that was retried too often, or whose group holds queue locks, goes to the group's %DLQ%.
// * DELAY > 0 sends the message by way of SCHEDULE_TOPIC_XXXX; the answer then has that queue's offset, as in Java.
// * With SYNC_FLUSH the answer waits for the disk, at most syncFlushTimeout; FLUSH_DISK_TIMEOUT has a complete header.
// * A half message, TRAN_MSG=true, goes to RMQ_SYS_TRANS_HALF_TOPIC (see txn.go); the answer then has that queue's offset.
// * TIMER_DELAY_SEC, TIMER_DELAY_MS or TIMER_DELIVER_MS sends the message by way of rmq_sys_wheel_timer (see timer.go); the
//   answer then has that queue's offset and a recallHandle.
//
// Apache: SendMessageProcessor.

// v349 is the first client version whose maxReconsumeTimes counts. Apache: MQVersion.V3_4_9.
const v349 = 121

// sendCall is the memory of one send. It is the owner of the response whose header lies in it.
type sendCall struct {
	p     *Processor
	h     codec.SendHeader
	props sentProps
	text  []byte // the properties as stored
	ids   []byte // the message ids of the answer
	// slotMs is the slot that a timer message waits for, 0 for other messages.
	slotMs int64
	topic  store.Name // as it was sent to
	msg    store.Message
	put    store.PutResult
	batch  store.BatchPutResult
	resp   codec.SendResponse
	// static is the queue of a static topic that was named in the request; h names the physical one.
	static staticQueue

	parked  remoting.Parked
	flushed func(error) // c.answerFlushed
}

func newSendCall(p *Processor) *sendCall {
	c := &sendCall{p: p}
	c.flushed = c.answerFlushed
	return c
}

// Release makes the memory free for the next send.
func (c *sendCall) Release() {
	const keptBytes = 64 << 10
	if cap(c.ids) > keptBytes || cap(c.batch.PhysOffsets) > keptBytes/8 {
		c.ids, c.batch.PhysOffsets = nil, nil
	}
	c.h, c.props, c.resp, c.slotMs, c.static = codec.SendHeader{}, sentProps{}, codec.SendResponse{}, 0, staticQueue{}
	c.topic, c.msg = store.Name{}, store.Message{}
	c.parked.Forget()
	c.p.sends.Put(c)
}

// send answers the three send requests.
func (p *Processor) send(req *remoting.Request) (*codec.Command, error) {
	c := p.sends.Get().(*sendCall)
	live := p.live()
	parked, err := c.store(req, live)
	switch {
	case err != nil:
		c.Release()
		return nil, withRegion(err, live)
	case parked:
		return nil, nil
	case req.IsOneway():
		c.Release()
		return nil, nil
	}
	resp := req.Response(codec.Success)
	resp.Header, resp.Owner = &c.resp, c
	return resp, nil
}

// withRegion gives a refused send the header fields that every answer to a send has.
func withRegion(err error, live *liveSettings) error {
	if r, ok := err.(*codec.Refusal); ok && r.Header == nil {
		r.Header = &live.refusal
	}
	return err
}

// store checks and stores what was sent and fills c.resp. When it parked the request, the answer comes by answerFlushed.
func (c *sendCall) store(req *remoting.Request, live *liveSettings) (parked bool, err error) {
	p, h := c.p, &c.h
	if err := codec.ParseSendHeader(&req.Command, h); err != nil {
		return false, err
	}
	c.expect()
	if !h.Batch {
		c.text = c.props.rewrite(c.text, h.Properties, live.added)
	}
	c.fetch()
	if len(req.Body) == 0 {
		return false, missing("body")
	}
	if c.static, err = p.staticToSend(req, h); err != nil {
		return false, err
	}
	topic, err := p.topicToSend(req, h, c.topic, live)
	if err != nil {
		return false, err
	}
	if h.QueueID < 0 {
		if topic.WriteQueueNums <= 0 {
			return false, refuse(codec.SystemError, "topic[%s] has no queue to write to", topic.TopicName)
		}
		h.QueueID = p.opts.Random(topic.WriteQueueNums)
	}
	c.msg = store.Message{
		Topic: topic.TopicName, QueueID: h.QueueID, Flag: h.Flag, SysFlag: sendSysFlag(h.SysFlag, topic),
		ReconsumeTimes: h.ReconsumeTimes, BornTimestampMs: h.BornTimestampMs, BornHost: req.Conn.RemoteAddr(), Body: req.Body,
		Expected: c.msg.Expected,
	}
	if h.Batch {
		if err = checkBatchKeys(topic, req.Body); err == nil {
			err = c.putBatch(req, topic, live)
		}
	} else {
		err = c.putOne(req, topic, live)
	}
	if err != nil {
		return false, err
	}
	c.resp.QueueID = h.QueueID
	if c.static.detail != nil {
		c.resp.QueueID, c.resp.QueueOffset = c.static.globalID, looseOffset(c.static.item, c.resp.QueueOffset)
	}
	c.resp.TransactionID = c.props.uniqKey
	c.resp.RegionID, c.resp.TraceOn = live.refusal.RegionID, live.refusal.TraceOn
	if live.SyncFlush && c.props.wait {
		req.ParkIn(&c.parked)
		p.store.AfterFlush(c.endOffset(), c.flushed)
		return true, nil
	}
	return false, nil
}

// expect has the processor begin to fetch what the send will look up by its topic and queue. Of many topics and queues the ones of a
// message are in no cache, and each look-up would wait for memory again.
func (c *sendCall) expect() {
	c.topic = store.NameOfBytes(c.h.Topic)
	c.p.topics.Expect(c.topic)
	c.p.stats.traffic.topics.Expect(c.topic)
	c.msg.Expected = c.p.store.Expect(c.topic, c.h.QueueID)
}

// fetch follows expect, when what that asked for is there.
func (c *sendCall) fetch() {
	c.p.topics.Fetch(c.topic)
	c.p.stats.traffic.topics.Fetch(c.topic, unsafe.Offsetof(sentFlow{}.sizes)+unsafe.Sizeof(sentFlow{}.sizes[0]))
	c.p.store.Fetch(&c.msg.Expected)
}

// sendSysFlag returns the flags to store: the sender's but those of address lengths, which the store sets, and the topic's.
func sendSysFlag(sent int32, topic *codec.TopicConfig) int32 {
	sysFlag := sent &^ (codec.SysBornHostV6 | codec.SysStoreHostV6)
	if topic.TopicFilterType == codec.FilterMultiTag {
		sysFlag |= codec.SysMultiTags
	}
	return sysFlag
}

// topicToSend makes the checks of every send and returns the topic, created if need be. Apache: preSend, msgCheck.
func (p *Processor) topicToSend(req *remoting.Request, h *codec.SendHeader, name store.Name, live *liveSettings) (*codec.TopicConfig, error) {
	if !live.AcceptSendsFrom.IsZero() && p.opts.Now().Before(live.AcceptSendsFrom) {
		return nil, refuse(codec.SystemError, "broker unable to service, until %s", live.AcceptSendsFrom.Format("2006-01-02 15:04:05,000"))
	}
	topic, ok := p.topics.GetNamed(name)
	if ok && topic.Order && live.Permission&codec.PermWrite == 0 {
		return nil, refuse(codec.NoPermission, "the broker[%s] sending message is forbidden", live.BrokerIP)
	}
	if !ok {
		if err := store.ValidateTopic(string(h.Topic)); err != nil {
			return nil, refuse(codec.InvalidParameter, "%v", err)
		}
	}
	if store.IsSendForbidden(h.Topic) {
		return nil, refuse(codec.NoPermission, "Sending message to topic[%s] is forbidden.", h.Topic)
	}
	if !ok {
		if req.Inline() {
			return nil, remoting.ErrHandOver
		}
		var err error
		if topic, err = p.createToSend(h, req.Conn.RemoteAddr().String()); err != nil {
			return nil, err
		}
	}
	if h.QueueID >= max(topic.WriteQueueNums, topic.ReadQueueNums) {
		return nil, refuse(codec.InvalidParameter, "request queueId[%d] is illegal, %s Producer: %s", h.QueueID, describeTopic(topic), req.Conn.RemoteAddr())
	}
	return topic, nil
}

// createToSend creates an unknown topic. A retry topic is created with one queue even when topics may not create themselves.
func (p *Processor) createToSend(h *codec.SendHeader, producer string) (*codec.TopicConfig, error) {
	name, retry := string(h.Topic), strings.HasPrefix(string(h.Topic), store.RetryTopicPrefix)
	var sysFlag int32
	switch {
	case h.UnitMode && retry:
		sysFlag = codec.TopicUnitSub
	case h.UnitMode:
		sysFlag = codec.TopicUnit
	}
	topic, err := p.topics.AutoCreate(name, string(h.DefaultTopic), h.DefaultTopicQueueNums, sysFlag, producer)
	switch {
	case err != nil:
		return nil, p.createError(name, err)
	case topic != nil:
		p.log.Info("topic created by a send", "topic", name, "queues", topic.WriteQueueNums, "client", producer)
		return topic, nil
	case retry:
		return p.createGroupTopic(name, 1, sysFlag)
	}
	p.log.Warn("send to an unknown topic", "topic", name, "default_topic", string(h.DefaultTopic), "client", producer)
	return nil, topicUnknownToSend(name)
}

// createGroupTopic returns a retry or dead-letter topic, created if need be; it waits for the disk then. Apache:
// TopicConfigManager.createTopicInSendMessageBackMethod.
func (p *Processor) createGroupTopic(name string, queues, sysFlag int32) (*codec.TopicConfig, error) {
	if topic, ok := p.topics.Get(name); ok {
		return topic, nil
	}
	cfg := codec.NewTopicConfig(name)
	cfg.ReadQueueNums, cfg.WriteQueueNums, cfg.TopicSysFlag = queues, queues, sysFlag
	topic, err := p.topics.CreateIfAbsent(cfg)
	if err != nil {
		return nil, p.createError(name, err)
	}
	p.log.Info("topic created for a group", "topic", name, "queues", queues)
	return topic, nil
}

// putOne stores a message that is no batch.
func (c *sendCall) putOne(req *remoting.Request, topic *codec.TopicConfig, live *liveSettings) error {
	p, h, sentTo := c.p, &c.h, topic
	if strings.HasPrefix(topic.TopicName, store.RetryTopicPrefix) {
		dead, err := p.deadLetter(req, h, topic.TopicName)
		if err != nil {
			return err
		}
		if dead != nil {
			topic = dead
			c.toDeadLetters(dead)
		}
	}
	if c.props.uniqKey == nil {
		at := len(c.text) + len(codec.PropUniqKey) + 1
		c.text = append(append(c.text, codec.PropUniqKey...), 1)
		c.text = append(p.opts.IDs.AppendNext(c.text, p.opts.Now()), propEnd)
		c.props.uniqKey = c.text[at : len(c.text)-1]
	}
	if len(c.props.lite) > 0 {
		if err := c.toLiteTopic(); err != nil {
			return err
		}
	}
	if c.props.priority != nil {
		if err := c.prioritize(sentTo); err != nil {
			return err
		}
	}
	if err := checkKeys(topic, c.props.keys); err != nil {
		return err
	}
	if len(c.text) > codec.MaxPropertiesBytes || len(req.Body) > live.MaxMessageBytes {
		return p.illegal()
	}
	c.msg.Properties = c.text
	c.msg.TagsCode = codec.TagsCode(c.props.tags)
	if !c.innerAllowed(topic) {
		return p.illegal()
	}
	if err := c.transform(live); err != nil {
		return err
	}
	if err := p.putMessage(req, &c.msg, &c.put); err != nil {
		return err
	}
	p.stats.put(c.msg.Topic, c.props.kind(), int64(c.put.Count), c.put.EndOffset-c.put.PhysOffset)
	c.ids = codec.AppendOffsetMsgID(c.ids[:0], p.opts.StoreHost, c.put.PhysOffset)
	c.resp.MsgID, c.resp.QueueOffset = c.ids, c.put.QueueOffset
	if c.slotMs != 0 && !strings.HasPrefix(topic.TopicName, store.RetryTopicPrefix) {
		c.resp.RecallHandle = codec.AppendRecallHandle(nil, topic.TopicName, live.BrokerName, c.slotMs, c.props.uniqKey)
	}
	return nil
}

// transform refuses what cannot be stored and sends a delayed message by way of its level's queue. Apache: HookUtils.
func (c *sendCall) transform(live *liveSettings) error {
	m, props := &c.msg, &c.props
	if len(m.Topic) > codec.MaxTopicV1Bytes && !strings.HasPrefix(m.Topic, store.RetryTopicPrefix) {
		return c.p.illegal()
	}
	level, ok := props.delayLevel()
	if !ok {
		return refuse(codec.SystemError, "property DELAY is not a number: %q", props.delay)
	}
	if props.halfMessage && !(m.ReconsumeTimes > 0 && level > 0) {
		return c.halve(level, live)
	}
	if t := codec.TransactionType(m.SysFlag); t == codec.SysPrepared || t == codec.SysRollback {
		return nil
	}
	var err error
	c.slotMs, err = c.p.delay(m, props, level)
	return err
}

// delay sends a message with a level by way of SCHEDULE_TOPIC_XXXX, and one with a TIMER_ property by way of
// rmq_sys_wheel_timer; then it returns the slot in ms. Apache: HookUtils.handleScheduleMessage.
func (p *Processor) delay(m *store.Message, props *sentProps, level int) (slotMs int64, err error) {
	if level <= 0 {
		if props.timer && !props.timerOut {
			return p.time(m, props)
		}
		return 0, nil
	}
	if props.timer {
		m.Properties = codec.AppendPropertiesWithout(nil, m.Properties, codec.PropTimerDeliverMs, codec.PropTimerDelaySeconds, codec.PropTimerDelayMs)
	}
	p.schedule.Redirect(m, level)
	if len(m.Properties) > codec.MaxPropertiesBytes {
		return 0, p.illegal()
	}
	return 0, nil
}

// deadLetter returns the group's dead-letter topic when a message sent to its retry topic belongs there, else nil. Apache:
// SendMessageProcessor.handleRetryAndDLQ.
func (p *Processor) deadLetter(req *remoting.Request, h *codec.SendHeader, retryTopic string) (*codec.TopicConfig, error) {
	groupName := retryTopic[len(store.RetryTopicPrefix):]
	group, ok := p.groups.Find(h.Topic[len(store.RetryTopicPrefix):])
	if !ok {
		return nil, groupUnknown(groupName)
	}
	most := group.RetryMaxTimes
	if h.HasMaxReconsumeTimes && req.Version >= v349 {
		most = h.MaxReconsumeTimes
	}
	if h.ReconsumeTimes <= most && !p.locks.HeldBy(groupName, p.opts.Now()) {
		return nil, nil
	}
	name := store.DLQTopic(groupName)
	if topic, ok := p.topics.Get(name); ok {
		return topic, nil
	}
	if req.Inline() {
		return nil, remoting.ErrHandOver
	}
	return p.createGroupTopic(name, 1, 0)
}

// toDeadLetters turns the message to a dead-letter topic, to be delivered at once.
func (c *sendCall) toDeadLetters(topic *codec.TopicConfig) {
	c.msg.Topic, c.msg.QueueID = topic.TopicName, 0
	c.h.QueueID = 0
	c.msg.SysFlag = sendSysFlag(c.h.SysFlag, topic)
	c.text = codec.AppendPropertiesWithout(nil, c.text, codec.PropDelay)
	c.text = codec.AppendProperty(c.text, codec.PropDelay, "-1")
	c.props.scan(c.text)
}

// putMessage stores a message: on an event loop without waiting, on a pool with.
func (p *Processor) putMessage(req *remoting.Request, m *store.Message, r *store.PutResult) error {
	var err error
	began := p.stats.putTimes.begin()
	if req.Inline() {
		m.NowMs = req.Arrived.UnixMilli() // one reading of the clock a turn
		err = p.store.Put(m, r)
	} else {
		err = p.store.PutWait(m, r)
	}
	p.stats.putTimes.end(began)
	if err != nil {
		return p.putError(err)
	}
	return nil
}

// endOffset is the physical offset after what was stored.
func (c *sendCall) endOffset() int64 {
	if c.h.Batch && len(c.resp.BatchUniqID) == 0 {
		return c.batch.EndOffset
	}
	return c.put.EndOffset
}

// answerFlushed answers a parked send once its message is on disk, or is late. The flusher calls it; it does not wait.
func (c *sendCall) answerFlushed(err error) {
	parked, conn, log := &c.parked, c.parked.Conn, c.p.log // c is another's when it is answered
	code, refused := c.p.flushError(err)
	resp := parked.Response(code)
	resp.Header, resp.Owner = &c.resp, c
	if r, ok := refused.(*codec.Refusal); ok {
		c.resp = c.p.live().refusal
		resp.Code, resp.Remark = r.Code, r.Remark
	}
	if err := parked.Reply(resp); err != nil {
		log.Debug("answer to a send is lost", "client", conn.RemoteAddr(), "error", err)
	}
}
