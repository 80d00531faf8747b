package admin

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/apogee-mq/apogee/codec"
)

// maxBodyBytes bounds a body that is unpacked to be shown.
const maxBodyBytes = 64 << 20

// storedMessage is a message as brokers answer it.
type storedMessage struct {
	codec.Message
	topic  string
	broker string // the broker's name, when known
	props  map[string]string
	keys   []string // of props, in the order of the record
	body   []byte   // unpacked
}

// readMessages decodes the records of an answer.
func readMessages(b []byte) ([]*storedMessage, error) {
	var all []*storedMessage
	for len(b) > 0 {
		m, n, err := readMessage(b)
		if err != nil {
			return nil, fmt.Errorf("read message %d of the answer: %w", len(all)+1, err)
		}
		b = b[n:]
		all = append(all, m)
	}
	return all, nil
}

// readMessage decodes the record that b begins with, and tells its length.
func readMessage(b []byte) (m *storedMessage, n int, err error) {
	m = &storedMessage{props: map[string]string{}}
	if n, err = codec.DecodeMessage(b, &m.Message); err != nil {
		return nil, 0, err
	}
	m.topic = string(m.Topic)
	for it := codec.NewPropertyIter(m.Properties); it.Next(); {
		key := string(it.Key)
		if _, twice := m.props[key]; !twice {
			m.keys = append(m.keys, key)
		}
		m.props[key] = string(it.Value)
	}
	if m.body, err = unpack(m.Body, m.SysFlag); err != nil {
		return nil, 0, fmt.Errorf("unpack message %s: %w", m.id(), err)
	}
	return m, n, nil
}

// unpack undoes the compression that the sysFlag names. Apache: CompressionType, MessageDecoder.
func unpack(body []byte, sysFlag int32) ([]byte, error) {
	if sysFlag&codec.SysCompressed == 0 {
		return body, nil
	}
	var r io.Reader
	switch sysFlag >> 8 & 7 {
	case 1:
		r = lz4.NewReader(bytes.NewReader(body))
	case 2:
		z, err := zstd.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r = z
	}
	return io.ReadAll(io.LimitReader(r, maxBodyBytes))
}

// id is the id that clients show: the unique key, else the offset id.
func (m *storedMessage) id() string { return cmp.Or(m.props[codec.PropUniqKey], m.offsetID()) }

func (m *storedMessage) offsetID() string {
	return string(codec.AppendOffsetMsgID(nil, m.StoreHost, m.PhysOffset))
}

// describe is the message as Java's MessageExt.toString shows it, with the properties in the order of the record.
func (m *storedMessage) describe() string {
	numbers := make([]string, len(m.body))
	for i, b := range m.body {
		numbers[i] = strconv.Itoa(int(int8(b)))
	}
	return m.describeWith("[" + strings.Join(numbers, ", ") + "]")
}

// describeWith is describe with the text that stands for the body: "null" where Apache's tool decodes none.
func (m *storedMessage) describeWith(body string) string {
	return fmt.Sprintf("MessageExt [brokerName=%s, queueId=%d, storeSize=%d, queueOffset=%d, sysFlag=%d, bornTimestamp=%d, bornHost=/%s, "+
		"storeTimestamp=%d, storeHost=/%s, msgId=%s, commitLogOffset=%d, bodyCRC=%d, reconsumeTimes=%d, preparedTransactionOffset=%d, "+
		"toString()=Message{topic='%s', flag=%d, properties=%s, body=%s, transactionId='null'}]",
		cmp.Or(m.broker, "null"), m.QueueID, m.TotalSizeBytes, m.QueueOffset, m.SysFlag, m.BornTimestampMs, m.BornHost, m.StoreTimestampMs, m.StoreHost,
		m.offsetID(), m.PhysOffset, m.BodyCRC, m.ReconsumeTimes, m.PreparedTransactionOffset, m.topic, m.Flag, m.describeProps(), body)
}

func (m *storedMessage) describeProps() string {
	parts := make([]string, len(m.keys))
	for i, key := range m.keys {
		parts[i] = key + "=" + m.props[key]
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// record is the message for programs.
func (m *storedMessage) record() record {
	return record{{"msgId", m.id()}, {"offsetMsgId", m.offsetID()}, {"topic", m.topic}, {"brokerName", m.broker}, {"queueId", m.QueueID},
		{"queueOffset", m.QueueOffset}, {"commitLogOffset", m.PhysOffset}, {"storeSize", m.TotalSizeBytes}, {"bodyCRC", m.BodyCRC},
		{"bornTime", jsonTime(m.BornTimestampMs)}, {"bornHost", m.BornHost.String()}, {"storeTime", jsonTime(m.StoreTimestampMs)},
		{"storeHost", m.StoreHost.String()}, {"sysFlag", m.SysFlag}, {"flag", m.Flag}, {"reconsumeTimes", m.ReconsumeTimes},
		{"preparedTransactionOffset", m.PreparedTransactionOffset}, {"properties", m.props}, {"body", string(m.body)}}
}

// orNull is a text as Java prints one that may be null.
func (m *storedMessage) orNull(key string) string {
	if value, ok := m.props[key]; ok {
		return value
	}
	return "null"
}

// sayMessage prints a message field by field. where is the file that its body was written to, suffix what its name ends with.
func (s *session) sayMessage(m *storedMessage, suffix string) error {
	where := filepath.Join(os.TempDir(), "rocketmq", "msgbodys", m.fileName()+suffix)
	if !s.out.json {
		if err := writeNew(where, m.body); err != nil {
			return err
		}
	}
	for _, field := range [][2]any{
		{"Topic:", m.topic}, {"Tags:", "[" + m.orNull(codec.PropTags) + "]"},
		{"Keys:", "[" + m.orNull(codec.PropKeys) + "]"}, {"Queue ID:", m.QueueID}, {"Queue Offset:", m.QueueOffset},
		{"CommitLog Offset:", m.PhysOffset}, {"Reconsume Times:", m.ReconsumeTimes}, {"Born Timestamp:", timeMs(m.BornTimestampMs)},
		{"Store Timestamp:", timeMs(m.StoreTimestampMs)}, {"Born Host:", m.BornHost}, {"Store Host:", m.StoreHost},
		{"System Flag:", m.SysFlag}, {"Properties:", m.describeProps()}, {"Message Body Path:", where},
	} {
		s.say("%-20s %v\n", field[0], field[1])
	}
	return nil
}

// fileName is the id of the message with nothing in it that could lead out of a folder.
func (m *storedMessage) fileName() string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:.`, r) {
			return '_'
		}
		return r
	}, m.id())
}

// viewMessage asks for a message by its offset id, at the address in the id. Apache: MQAdminImpl.viewMessage.
func (s *session) viewMessage(topic, id string) (*storedMessage, error) {
	host, physOffset, err := codec.ParseOffsetMsgID(id)
	if err != nil {
		return nil, err
	}
	resp, err := s.broker(host.String(), request(codec.ViewMessageByID, "topic", topic, "offset", physOffset))
	if err != nil {
		return nil, err
	}
	all, err := readMessages(resp.Body)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("broker %s answers no message", host)
	}
	return all[0], nil
}

// query asks the index of every broker in the route of a topic. Apache: MQAdminImpl.queryMessage.
func (s *session) query(of, topic, key, indexType, lastKey string, maxNum, begin, end int64) ([]*storedMessage, error) {
	route, err := s.route(of)
	if err != nil {
		return nil, err
	}
	var all []*storedMessage
	for _, b := range route.BrokerDatas {
		addr := selectAddr(b)
		if addr == "" {
			continue
		}
		c := request(codec.QueryMessage, "topic", topic, "key", key, "maxNum", maxNum, "beginTimestamp", begin, "endTimestamp", end,
			"indexType", indexType, "_UNIQUE_KEY_QUERY", indexType == indexUnique)
		if lastKey != "" {
			c.Extra = append(c.Extra, codec.Field{Key: "lastKey", Value: lastKey})
		}
		resp, err := s.broker(addr, c)
		if answered(err) == codec.QueryNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := readMessages(resp.Body)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if m.topic == topic && m.has(key, indexType) {
				m.broker = b.BrokerName
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// The values of the field indexType. Apache: MessageConst.INDEX_*_TYPE.
const (
	indexKeys   = "K"
	indexTags   = "T"
	indexUnique = "U"
)

// has tells whether a message has a key: an index holds hashes only.
func (m *storedMessage) has(key, indexType string) bool {
	switch indexType {
	case indexUnique:
		return m.props[codec.PropUniqKey] == key
	case indexTags:
		return m.props[codec.PropTags] == key
	}
	for word := range strings.FieldsSeq(m.props[codec.PropKeys]) {
		if word == key {
			return true
		}
	}
	return false
}

// isOffsetID tells whether an id is an offset id as against a unique key, which looks alike. Apache: MQAdminImpl.queryMessageByUniqKey.
func isOffsetID(id string, storeHosts func(netip.AddrPort) bool) bool {
	host, _, err := codec.ParseOffsetMsgID(id)
	return err == nil && storeHosts(host)
}
