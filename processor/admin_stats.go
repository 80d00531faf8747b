package processor

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// GET_BROKER_RUNTIME_INFO 28, VIEW_BROKER_STATS_DATA 315, QUERY_CONSUME_QUEUE 321.
//
// Behavior:
// * 28 has the keys that mqadmin and the dashboard read, as far as they can be told truly: no latencies, no distribution. Rates
//   are over the last 10, 60 and 600 seconds.
// * 315 knows what statsAll, exportMetrics and the dashboard ask for: TOPIC_PUT_, GROUP_GET_, SNDBCK_PUT_ and BROKER_ items.
// * 321 of an index beyond the queue has a remark and no body.
//
// Apache: AdminBrokerProcessor, StoreStatsService, BrokerStats.

const (
	// versionDesc is what Java's MQVersion calls the release, versionCode its place there.
	versionDesc, versionCode = "V5_5_0", "513"
	// sampleCount samples, one in 10 s, span 600 s.
	sampleCount = 61
	// maxQueueEntries bounds the entries of one answer to QUERY_CONSUME_QUEUE.
	maxQueueEntries = 10_000
)

// sample are the counters at one time.
type sample struct {
	at                               time.Time
	puts, found, missed, transferred int64
}

// history keeps the last samples, and the counters at the last two midnights.
type history struct {
	mu      sync.Mutex // guards all below
	samples []sample   // oldest first
	// today and yesterday are the counters at the beginning of the day and of the one before.
	today, yesterday daily
}

// daily is what is counted by day.
type daily struct{ puts, gets int64 }

// sample takes a sample, and reports whether ten minutes have gone by. TickClients calls it every 10 s.
func (s *Stats) sample(now time.Time) (tenMinutes bool) {
	next := sample{at: now, puts: s.Puts.Load(), found: s.ReadsFound.Load(), missed: s.ReadsMissed.Load(), transferred: s.Gets.Load()}
	tenMinutes = s.traffic.look(now, counted{calls: next.puts, messages: next.puts}, counted{calls: next.found, messages: next.transferred})
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.samples); n > 0 && now.YearDay() != h.samples[n-1].at.YearDay() {
		h.yesterday, h.today = h.today, s.daily()
	}
	if len(h.samples) == sampleCount {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, next)
	return tenMinutes
}

// rates tells how fast a counter grew over the last 10, 60 and 600 seconds, as Java writes it.
func (h *history) ratesLocked(of func(sample) int64) string {
	text := ""
	for i, back := range [...]int{1, 6, 60} {
		if i > 0 {
			text += " "
		}
		text += describeDouble(h.rateLocked(back, of))
	}
	return text
}

// rateLocked compares the newest sample with the one that is back samples older, or the oldest.
func (h *history) rateLocked(back int, of func(sample) int64) float64 {
	if len(h.samples) < 2 {
		return 0
	}
	newest, older := h.samples[len(h.samples)-1], h.samples[max(len(h.samples)-1-back, 0)]
	seconds := newest.at.Sub(older.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(of(newest)-of(older)) / seconds
}

// describeDouble writes a number as Double.toString does for the sizes that occur here: always with a point.
func describeDouble(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// runtimeInfo answers GET_BROKER_RUNTIME_INFO.
func (p *Processor) runtimeInfo(req *remoting.Request) (*codec.Command, error) {
	table := make(map[string]string, 80)
	p.addCounters(table)
	p.addStoreInfo(table)
	p.addDisk(table)
	p.addPools(table)
	live := p.live()
	table["brokerActive"], table["brokerVersionDesc"] = "true", versionDesc
	// Brokers before 5 have the number, too, and RocketMQ Exporter reads none of this table without it.
	table["brokerVersion"] = versionCode
	started := int64(0)
	if !live.AcceptSendsFrom.IsZero() {
		started = live.AcceptSendsFrom.UnixMilli()
	}
	table["startAcceptSendRequestTimeStamp"] = strconv.FormatInt(started, 10)
	p.addTimer(table)
	return jsonResponse(req, codec.KVTable{Table: table})
}

// addCounters adds what is counted since the start.
func (p *Processor) addCounters(table map[string]string) {
	stats := &p.stats
	puts, putBytes := stats.Puts.Load(), stats.PutBytes.Load()
	count := func(key string, n int64) { table[key] = strconv.FormatInt(n, 10) }
	count("putMessageTimesTotal", max(puts, 1)) // as Java, which divides by it
	count("putMessageSizeTotal", putBytes)
	table["putMessageAverageSize"] = describeDouble(float64(putBytes) / float64(max(puts, 1)))
	count("putMessageFailedTimes", stats.PutFailures.Load())
	count("putMessageEntireTimeMax", time.Duration(stats.putTimes.maxNs.Load()).Milliseconds())
	count("getMessageEntireTimeMax", time.Duration(stats.getTimes.maxNs.Load()).Milliseconds())
	table["putMessageDistributeTime"] = stats.putTimes.distribution()
	millis := func(d time.Duration) string {
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64)
	}
	table["putLatency99"], table["putLatency999"] = millis(stats.putTimes.quantile(0.99)), millis(stats.putTimes.quantile(0.999))
	if started := p.opts.StartedAt; !started.IsZero() {
		count("bootTimestamp", started.UnixMilli())
		seconds := int64(p.opts.Now().Sub(started).Seconds())
		table["runtime"] = fmt.Sprintf("[ %d days, %d hours, %d minutes, %d seconds ]", seconds/86400, seconds/3600%24, seconds/60%60, seconds%60)
	}
	now := stats.daily()
	h := &stats.history
	h.mu.Lock()
	defer h.mu.Unlock()
	table["putTps"] = h.ratesLocked(func(s sample) int64 { return s.puts })
	table["getFoundTps"] = h.ratesLocked(func(s sample) int64 { return s.found })
	table["getMissTps"] = h.ratesLocked(func(s sample) int64 { return s.missed })
	table["getTotalTps"] = h.ratesLocked(func(s sample) int64 { return s.found + s.missed })
	table["getTransferredTps"] = h.ratesLocked(func(s sample) int64 { return s.transferred })
	count("msgPutTotalYesterdayMorning", h.yesterday.puts)
	count("msgPutTotalTodayMorning", h.today.puts)
	count("msgPutTotalTodayNow", now.puts)
	count("msgGetTotalYesterdayMorning", h.yesterday.gets)
	count("msgGetTotalTodayMorning", h.today.gets)
	count("msgGetTotalTodayNow", now.gets)
}

// addStoreInfo adds the places of the log and of the delay levels.
func (p *Processor) addStoreInfo(table map[string]string) {
	count := func(key string, n int64) { table[key] = strconv.FormatInt(n, 10) }
	first, written := p.store.MinPhysOffset(), p.store.Written()
	count("commitLogMinOffset", first)
	count("commitLogMaxOffset", p.store.MaxPhysOffset())
	count("commitLogWrittenOffset", written)
	count("commitLogFlushedOffset", p.store.Flushed())
	count("commitLogDispatchedOffset", p.store.Dispatched())
	count("dispatchBehindBytes", max(written-p.store.Dispatched(), 0))
	count("dispatchMaxBuffer", 0)
	count("pageCacheLockTimeMills", 0)
	table["remainHowManyDataToFlush"] = describeBytes(max(written-p.store.Flushed(), 0))
	count("earliestMessageTimeStamp", p.StoreTimeOf(first))
	for level, queueOffset := range p.schedule.Snapshot().OffsetTable {
		table[fmt.Sprintf("scheduleMessageOffset_%d", level)] = fmt.Sprintf("%d,%d", queueOffset, p.store.MaxQueueOffset(store.TopicSchedule, level-1))
	}
}

// StoreTimeOf returns the store time in ms of the record at physOffset, -1 when there is none.
func (p *Processor) StoreTimeOf(physOffset int64) int64 {
	record, err := p.store.MessageAt(physOffset)
	if err != nil {
		return -1
	}
	var m codec.Message
	if _, err := codec.DecodeMessage(record, &m); err != nil {
		return -1
	}
	return m.StoreTimestampMs
}

// addDisk adds how full the disks are.
func (p *Processor) addDisk(table map[string]string) {
	for path, ratio := range p.store.LogDisks() {
		table["commitLogDiskRatio_"+path] = describeDouble(ratio)
	}
	m := p.store.Metrics()
	table["commitLogDiskRatio"], table["consumeQueueDiskRatio"] = describeDouble(m.LogDiskRatio), describeDouble(m.QueueDiskRatio)
	if disk, err := store.DiskOf(p.opts.StoreDir); err == nil {
		table["commitLogDirCapacity"] = fmt.Sprintf("Total : %s, Free : %s.", describeBytes(disk.TotalBytes), describeBytes(disk.FreeBytes))
	}
}

// addPools adds what waits in the pools. Java has more pools than there are here; they show what would serve their requests.
func (p *Processor) addPools(table map[string]string) {
	for _, pool := range [...]struct {
		name string
		kind remoting.PoolKind
	}{
		{"send", remoting.PoolSend}, {"pull", remoting.PoolPull}, {"litePull", remoting.PoolPull}, {"query", remoting.PoolAdmin},
		{"ack", remoting.PoolClient},
	} {
		waiting, capacity := 0, remoting.DefaultOptions().Queue[pool.kind]
		if p.opts.PoolLoad != nil {
			waiting, capacity = p.opts.PoolLoad(pool.kind)
		}
		table[pool.name+"ThreadPoolQueueSize"] = strconv.Itoa(waiting)
		table[pool.name+"ThreadPoolQueueCapacity"] = strconv.Itoa(capacity)
		table[pool.name+"ThreadPoolQueueHeadWaitTimeMills"] = "0"
	}
	table["EndTransactionQueueSize"], table["EndTransactionThreadPoolQueueCapacity"] = table["sendThreadPoolQueueSize"], table["sendThreadPoolQueueCapacity"]
	table["remainTransientStoreBufferNumbs"] = strconv.Itoa(math.MaxInt32) // as Java without such a pool
}

// viewStats answers VIEW_BROKER_STATS_DATA.
func (p *Processor) viewStats(req *remoting.Request) (*codec.Command, error) {
	var h codec.ViewBrokerStatsDataHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	data, ok := p.stats.traffic.data(h.StatsName, h.StatsKey, p.live().ClusterName)
	if !ok {
		return nil, refuse(codec.SystemError, "The stats <%s> <%s> not exist", h.StatsName, h.StatsKey)
	}
	return jsonResponse(req, data)
}

// consumeQueue answers QUERY_CONSUME_QUEUE with entries of a queue.
func (p *Processor) consumeQueue(req *remoting.Request) (*codec.Command, error) {
	var h codec.QueryConsumeQueueHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	topic, ok := p.topics.Get(h.Topic)
	if !ok || h.QueueID < 0 || h.QueueID >= max(topic.ReadQueueNums, topic.WriteQueueNums) {
		return nil, refuse(codec.SystemError, "%d@%s is not exist!", h.QueueID, h.Topic)
	}
	body := codec.QueryConsumeQueueBody{
		MinQueueIndex: p.store.MinQueueOffset(h.Topic, h.QueueID), MaxQueueIndex: p.store.MaxQueueOffset(h.Topic, h.QueueID),
		QueueData: []codec.ConsumeQueueData{},
	}
	var filter unitFilter
	if h.ConsumerGroup != "" {
		body.FilterData = p.filterDataText(h.ConsumerGroup, h.Topic)
		if group := p.clients.ConsumerGroup([]byte(h.ConsumerGroup)); group != nil && group.subscriptions[h.Topic] != nil {
			body.SubscriptionData = &group.subscriptions[h.Topic].Data
			filter = unitFilter{body.SubscriptionData, p.opts.Filters.Get([]byte(h.ConsumerGroup), []byte(h.Topic))}
		} else {
			body.FilterData = h.ConsumerGroup + "@" + h.Topic + " is not online!"
		}
	}
	if h.Index < body.MinQueueIndex || h.Index >= body.MaxQueueIndex {
		resp := req.Response(codec.Success)
		resp.Remark = fmt.Sprintf("Index %d of %d@%s is not exist!", h.Index, h.QueueID, h.Topic)
		return resp, nil
	}
	limit := h.Index + int64(min(max(h.Count, 0), maxQueueEntries))
	for at := h.Index; at < limit; {
		e, ok := p.store.EntryOf(h.Topic, h.QueueID, at)
		if !ok || e.End <= at {
			break
		}
		row := codec.ConsumeQueueData{PhysicOffset: e.PhysOffset, PhysicSize: e.SizeBytes, TagsCode: e.TagsCode}
		if err := showUnit(&row, &e, &filter); err != nil {
			return nil, err
		}
		body.QueueData = append(body.QueueData, row)
		at = e.End
	}
	resp, err := jsonResponse(req, body)
	if err == nil {
		resp.Remark = unsetRemark
	}
	return resp, err
}
