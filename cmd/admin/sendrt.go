package admin

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

func sendRTCommands() []spec {
	amount := long("a", "amount", "N", "messages to send (default 100)")
	size := long("s", "size", "BYTES", "length of a body (default 128)")
	return []spec{
		{name: "checkMsgSendRT", short: "Measure how long sends to a topic take", run: checkMsgSendRT,
			options: []option{topicOption("topic to send to"), amount, size}},
		{name: "sendMsgStatus", short: "Send messages to a broker's own topic and show each answer", run: sendMsgStatus, options: []option{
			text("b", "brokerName", "NAME", "name of the broker, which is also the name of the topic").must().completed(completeBrokerNames),
			number("s", "messageSize", "BYTES", "length of a body (default 128)"),
			number("c", "count", "N", "messages to send (default 50)")}},
		{name: "clusterRT", short: "Measure how long sends to every broker take, again and again", run: clusterRT,
			long: "It goes on until it is stopped; with --output json each round is one list.",
			options: []option{amount, size,
				text("c", "cluster", "CLUSTER", "this cluster only").completed(completeClusters),
				boolean("p", "printLog", "one line a measurement: time|room|cluster|broker|milliseconds"),
				text("m", "machineRoom", "NAME", "room of those lines (default noname)"),
				long("i", "interval", "SECONDS", "rest between rounds (default 10)")}},
	}
}

// maxSendBytes bounds the bodies that are made up, a little over Apache's largest message.
const maxSendBytes = 64 << 20

func bodyOf(size int64) ([]byte, error) {
	if size < 0 || size > maxSendBytes {
		return nil, usageError{fmt.Sprintf("a body may have 0 to %d bytes, not %d", maxSendBytes, size)}
	}
	return bytes.Repeat([]byte{'a'}, int(size)), nil
}

// writableQueues are the queues of a topic on masters, in the order of Java's clients.
func (s *session) writableQueues(topic string) (queues []codec.MessageQueue, addrs map[string]string, err error) {
	route, err := s.route(topic)
	if answered(err) == codec.TopicNotExist {
		route, err = s.route("TBW102")
	}
	if err != nil {
		return nil, nil, err
	}
	addrs = map[string]string{}
	for _, b := range route.BrokerDatas {
		if addr := b.BrokerAddrs[masterID]; addr != "" {
			addrs[b.BrokerName] = addr
		}
	}
	for _, q := range route.QueueDatas {
		for id := int32(0); q.Perm&codec.PermWrite != 0 && addrs[q.BrokerName] != "" && id < q.WriteQueueNums; id++ {
			queues = append(queues, codec.MessageQueue{Topic: topic, BrokerName: q.BrokerName, QueueID: id})
		}
	}
	if len(queues) == 0 {
		return nil, nil, fmt.Errorf("topic %s has no queue that can be written", topic)
	}
	return queues, addrs, nil
}

// checkMsgSendRT measures sends, one queue after the other. Apache: CheckMsgSendRTCommand, whose mean leaves out the first send.
func checkMsgSendRT(s *session) error {
	body, err := bodyOf(s.number("size", 128))
	if err != nil {
		return err
	}
	topic, amount := s.text("topic"), s.number("amount", 100)
	queues, addrs, err := s.writableQueues(topic)
	if err != nil {
		return err
	}
	t := s.table("%-32s  %-4s  %-20s    %s", column{"#Broker Name", "brokerName"}, column{"#QID", "queueId"}, column{"#Send Result", "ok"},
		column{"#RT", "ms"})
	var elapsed int64
	failed := int64(0)
	for i := range amount {
		q := queues[i%int64(len(queues))]
		ms, err := s.timed(addrs[q.BrokerName], outgoing{topic: topic, queueID: int64(q.QueueID), body: body})
		if err != nil {
			failed++
			fmt.Fprintf(s.errw, "%v\n", err)
		}
		if i > 0 {
			elapsed += ms
		}
		t.row(q.BrokerName, q.QueueID, err == nil, ms)
	}
	s.say("Avg RT: %s\n", mean(elapsed, amount-1))
	if failed > 0 {
		return fmt.Errorf("%d of %d sends failed", failed, amount)
	}
	return nil
}

// timed sends a message and says how many milliseconds it took.
func (s *session) timed(addr string, m outgoing) (int64, error) {
	begin := time.Now()
	_, err := s.send(addr, m)
	return time.Since(begin).Milliseconds(), err
}

// mean is a mean of milliseconds as Java formats it.
func mean(sum, n int64) string {
	if n <= 0 {
		return "NaN"
	}
	return fmt.Sprintf("%.2f", float64(sum)/float64(n))
}

// sendMsgStatus sends to the topic that is named as a broker. Apache: SendMsgStatusCommand, which sends one more message first.
func sendMsgStatus(s *session) error {
	broker := s.text("brokerName")
	body, err := bodyOf(s.number("messageSize", 128))
	if err != nil {
		return err
	}
	queues, addrs, err := s.writableQueues(broker)
	if err != nil {
		return err
	}
	if _, err := s.send(addrs[queues[0].BrokerName], outgoing{topic: broker, queueID: int64(queues[0].QueueID), body: body[:min(16, len(body))]}); err != nil {
		return err
	}
	s.list()
	for i := range s.number("count", 50) {
		q := queues[i%int64(len(queues))]
		begin := time.Now()
		sent, err := s.send(addrs[q.BrokerName], outgoing{topic: broker, queueID: int64(q.QueueID), body: body})
		if err != nil {
			return err
		}
		ms := time.Since(begin).Milliseconds()
		s.say("rt=%dms, SendResult=SendResult [sendStatus=SEND_OK, msgId=%s, offsetMsgId=%s, messageQueue=MessageQueue [topic=%s, brokerName=%s, "+
			"queueId=%d], queueOffset=%d, recallHandle=null]\n", ms, sent.msgID, sent.msgID, broker, q.BrokerName, sent.queueID, sent.queueOffset)
		s.add(record{{"ms", ms}, {"msgId", sent.msgID}, {"brokerName", q.BrokerName}, {"queueId", sent.queueID}, {"queueOffset", sent.queueOffset}})
	}
	return nil
}

// clusterRT measures sends to the topics that are named as brokers. Apache: CLusterSendMsgRTCommand.
func clusterRT(s *session) error {
	body, err := bodyOf(s.number("size", 128))
	if err != nil {
		return err
	}
	var t *table
	return s.every(seconds(s.number("interval", 10)), true, func() error {
		info, err := s.clusterInfo()
		if err != nil {
			return err
		}
		clusters := sortedKeys(info.ClusterAddrTable)
		if name := s.text("cluster"); name != "" {
			if _, err := brokerNames(info, name); err != nil {
				return err
			}
			clusters = []string{name}
		}
		if t == nil && !s.boolean("printLog", false) {
			t = s.table("%-24s  %-24s  %-4s  %-8s  %-8s", column{"#Cluster Name", "clusterName"}, column{"#Broker Name", "brokerName"},
				column{"#RT", "ms"}, column{"#successCount", "ok"}, column{"#failCount", "failed"}).rows("%-24s  %-24s  %-8s  %-16s  %-16s")
		}
		for _, cluster := range clusters {
			names, _ := brokerNames(info, cluster)
			for _, name := range names {
				s.brokerRT(t, cluster, name, body)
			}
		}
		return nil
	})
}

// brokerRT measures sends to one broker's topic.
func (s *session) brokerRT(t *table, cluster, name string, body []byte) {
	amount := s.number("amount", 100)
	var elapsed, ok, failed int64
	queues, addrs, err := s.writableQueues(name)
	for i := range amount {
		var ms int64
		sendErr := err
		if err == nil {
			q := queues[i%int64(len(queues))]
			ms, sendErr = s.timed(addrs[q.BrokerName], outgoing{topic: name, queueID: int64(q.QueueID), body: body})
		}
		if sendErr != nil {
			failed++
		} else {
			ok++
		}
		if i > 0 {
			elapsed += ms
		}
	}
	if t == nil {
		room := s.textOr("machineRoom", "noname")
		rt := 0.0
		if amount > 1 {
			rt = float64(elapsed) / float64(amount-1)
		}
		at := s.now().In(time.FixedZone("GMT+8", 8*3600)).Format("2006-01-02 15:04:05")
		s.say("%s|%s|%s|%s|%.0f\n", at, room, cluster, name, math.Floor(rt+0.5))
		s.add(record{{"time", at}, {"room", room}, {"clusterName", cluster}, {"brokerName", name}, {"ms", rt}})
		return
	}
	var ms any
	if amount > 1 {
		ms = float64(elapsed) / float64(amount-1)
	}
	t.row(cluster, name, shown{ms, mean(elapsed, amount-1)}, ok, failed)
}
