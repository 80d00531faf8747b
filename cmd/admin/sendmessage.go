package admin

import (
	"fmt"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

func messageCommands() []spec {
	return []spec{
		{name: "sendMessage", short: "Send one message",
			options: []option{
				text("t", "topic", "TOPIC", "topic to send to").must().completed(completeTopics),
				text("p", "body", "TEXT", "the message's body, UTF-8").must(),
				text("k", "key", "KEYS", "keys, separated by blanks"),
				text("c", "tags", "TAG", "tag"),
				text("b", "broker", "NAME", "broker to send to; else one of the topic's").completed(completeBrokerNames),
				number("i", "qid", "N", "queue to send to, together with -b; else the broker's choice"),
				boolean("m", "msgTraceEnable", "trace the message"),
			}, run: sendMessage},
	}
}

// sendMessage sends one message. Apache: SendMessageCommand.
func sendMessage(s *session) error {
	broker, addr, err := s.findMaster(s.text("topic"), s.text("broker"))
	if err != nil {
		return err
	}
	var props []byte
	for _, p := range []codec.Field{{Key: codec.PropTags, Value: s.text("tags")}, {Key: codec.PropKeys, Value: s.text("key")}} {
		if p.Value != "" {
			props = codec.AppendProperty(props, p.Key, p.Value)
		}
	}
	m := outgoing{topic: s.text("topic"), queueID: s.number("qid", -1), props: props, body: []byte(s.text("body"))}
	sent, err := s.send(addr, m)
	if err != nil {
		return err
	}
	t := s.table("%-32s  %-4s  %-20s    %s", column{"#Broker Name", "brokerName"}, column{"#QID", "queueId"},
		column{"#Send Result", "result"}, column{"#MsgId", "msgId"}).rows("%-32s  %-4s  %-20s    %s")
	s.result(t.line(broker, sent.queueID, "SEND_OK", sent.msgID))
	return nil
}

// outgoing is a message to be sent; queueID -1 lets the broker choose.
type outgoing struct {
	topic   string
	queueID int64
	props   []byte
	body    []byte
}

// sentMessage is where a message went.
type sentMessage struct {
	queueID     int64
	queueOffset int64
	msgID       string
}

// send sends a message to a broker.
func (s *session) send(addr string, m outgoing) (sentMessage, error) {
	c := request(codec.SendMessageV2, "a", "TOOLS_PRODUCER", "b", m.topic, "c", "TBW102", "d", 4, "e", m.queueID, "f", 0,
		"g", s.now().UnixMilli(), "h", 0, "i", string(m.props), "j", 0, "k", false, "m", false)
	c.Body = m.body
	resp, err := s.broker(addr, c)
	if err != nil {
		return sentMessage{}, fmt.Errorf("send to topic %s: %w", m.topic, err)
	}
	field := func(key string) int64 {
		v, _ := resp.Field(key)
		n, _ := strconv.ParseInt(string(v), 10, 64)
		return n
	}
	msgID, _ := resp.Field("msgId")
	return sentMessage{field("queueId"), field("queueOffset"), string(msgID)}, nil
}

// findMaster finds the master of a topic; a topic that is not there yet goes where TBW102 is, as in every client. want picks a
// broker by name.
func (s *session) findMaster(topic, want string) (name, addr string, err error) {
	route, err := s.route(topic)
	if answered(err) == codec.TopicNotExist {
		route, err = s.route("TBW102")
	}
	if err != nil {
		return "", "", err
	}
	for _, b := range route.BrokerDatas {
		if master := b.BrokerAddrs[masterID]; master != "" && (want == "" || want == b.BrokerName) {
			return b.BrokerName, master, nil
		}
	}
	if want != "" {
		return "", "", fmt.Errorf("topic %s has no master on broker %s", topic, want)
	}
	return "", "", fmt.Errorf("topic %s has no master that is alive", topic)
}
