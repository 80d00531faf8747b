package compat

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

const (
	probeTopic  = "CompatProbe"
	createTable = "TBW102" // the topic that new topics are modelled on
)

// ext makes a request's fields from pairs; values are written as Go prints them.
func ext(pairs ...any) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = fmt.Sprint(pairs[i+1])
	}
	return m
}

// props is a message's properties as they travel: name 0x01 value 0x02, repeated.
func props(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(pairs[i] + "\x01" + pairs[i+1] + "\x02")
	}
	return b.String()
}

// sendFields are the fields of SEND_MESSAGE with the names of code 10.
func sendFields(topic string, queueID int, properties string) map[string]string {
	return ext("producerGroup", "PG_compat", "topic", topic, "defaultTopic", createTable, "defaultTopicQueueNums", 4,
		"queueId", queueID, "sysFlag", 0, "bornTimestamp", nowMs(), "flag", 0, "properties", properties,
		"reconsumeTimes", 0, "unitMode", false, "batch", false)
}

// The one-letter names that codes 310, 320 and 325 have for the same fields.
var shortNames = map[string]string{"producerGroup": "a", "topic": "b", "defaultTopic": "c", "defaultTopicQueueNums": "d",
	"queueId": "e", "sysFlag": "f", "bornTimestamp": "g", "flag": "h", "properties": "i", "reconsumeTimes": "j",
	"unitMode": "k", "maxReconsumeTimes": "l", "batch": "m", "brokerName": "n"}

// shortened renames the fields of sendFields for codes 310, 320 and 325.
func shortened(fields map[string]string) map[string]string {
	m := make(map[string]string, len(fields))
	for k, v := range fields {
		m[shortNames[k]] = v
	}
	return m
}

// The bits of a pull's sysFlag.
const (
	pullCommit  = 1
	pullSuspend = 2
	pullSubExpr = 4
)

// pullFields are the fields of PULL_MESSAGE with a subscription to all tags.
func pullFields(group, topic string, queueID int, queueOffset int64) map[string]string {
	return ext("consumerGroup", group, "topic", topic, "queueId", queueID, "queueOffset", queueOffset, "maxMsgNums", 32,
		"sysFlag", pullSubExpr, "commitOffset", 0, "suspendTimeoutMillis", 0, "subscription", "*", "subVersion", 0,
		"expressionType", "TAG")
}

// with is a copy of fields with pairs set.
func with(fields map[string]string, pairs ...any) map[string]string {
	m := ext(pairs...)
	for k, v := range fields {
		if _, set := m[k]; !set {
			m[k] = v
		}
	}
	return m
}

// without is a copy of fields that lacks names.
func without(fields map[string]string, names ...string) map[string]string {
	m := with(fields)
	for _, name := range names {
		delete(m, name)
	}
	return m
}

// subscription is an entry of a heartbeat.
type subscription struct {
	Topic           string   `json:"topic"`
	SubString       string   `json:"subString"`
	ExpressionType  string   `json:"expressionType"`
	TagsSet         []string `json:"tagsSet"`
	CodeSet         []int32  `json:"codeSet"`
	SubVersion      int64    `json:"subVersion"`
	ClassFilterMode bool     `json:"classFilterMode"`
}

func subscribeAll(topic string) subscription {
	return subscription{Topic: topic, SubString: "*", ExpressionType: "TAG", TagsSet: []string{}, CodeSet: []int32{}, SubVersion: nowMs()}
}

// heartbeat is the body of HEART_BEAT. Empty groups are left out.
type heartbeat struct {
	clientID      string
	producerGroup string
	consumerGroup string
	model         string // CLUSTERING when empty
	consumeType   string // CONSUME_PASSIVELY when empty
	subs          []subscription
}

func (h heartbeat) body() []byte {
	type object = map[string]any
	data := object{"clientID": h.clientID, "producerDataSet": []object{}, "consumerDataSet": []object{}}
	if h.producerGroup != "" {
		data["producerDataSet"] = []object{{"groupName": h.producerGroup}}
	}
	if h.consumerGroup != "" {
		model := h.model
		if model == "" {
			model = "CLUSTERING"
		}
		subs := h.subs
		if subs == nil {
			subs = []subscription{}
		}
		data["consumerDataSet"] = []object{{
			"groupName": h.consumerGroup, "consumeType": cmp.Or(h.consumeType, "CONSUME_PASSIVELY"), "messageModel": model,
			"consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "subscriptionDataSet": subs, "unitMode": false,
		}}
	}
	return mustJSON(data)
}

// queue is a message queue in a JSON body.
type queue struct {
	BrokerName string `json:"brokerName"`
	QueueID    int    `json:"queueId"`
	Topic      string `json:"topic"`
}

func lockBody(group, clientID string, queues ...queue) []byte {
	return mustJSON(map[string]any{"consumerGroup": group, "clientId": clientID, "mqSet": queues, "onlyThisBroker": true})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only maps, slices and strings come here
	}
	return b
}

// createTopic creates or changes a topic on a broker, readable and writable.
func createTopic(broker, topic string, queues int) error {
	res, err := callOnce(broker, codeCreateTopic, topicFields(topic, queues), nil)
	if err != nil {
		return err
	}
	if res.Code != resSuccess {
		return fmt.Errorf("create topic %s: code %d: %s", topic, res.Code, res.Remark)
	}
	return nil
}

// topicFields are the fields of UPDATE_AND_CREATE_TOPIC.
func topicFields(topic string, queues int) map[string]string {
	return ext("topic", topic, "defaultTopic", createTable, "readQueueNums", queues, "writeQueueNums", queues, "perm", 6,
		"topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false)
}

// route is what the suite reads of a topic's route.
type route struct {
	QueueDatas []struct {
		BrokerName     string `json:"brokerName"`
		Perm           int    `json:"perm"`
		ReadQueueNums  int    `json:"readQueueNums"`
		WriteQueueNums int    `json:"writeQueueNums"`
	} `json:"queueDatas"`
	BrokerDatas []struct {
		BrokerName  string            `json:"brokerName"`
		Cluster     string            `json:"cluster"`
		BrokerAddrs map[string]string `json:"brokerAddrs"`
	} `json:"brokerDatas"`
}

// routeOf asks a name server, as a Java client of today does: in strict JSON.
func routeOf(namesrv, topic string) (*route, error) {
	c, err := dial(namesrv)
	if err != nil {
		return nil, err
	}
	defer c.close()
	res, err := c.callPacket(&packet{Code: codeGetRoute, Language: "JAVA", Version: 493, Ext: ext("topic", topic)}, callTimeout)
	if err != nil {
		return nil, err
	}
	if res.Code != resSuccess {
		return nil, fmt.Errorf("route of %s: code %d: %s", topic, res.Code, res.Remark)
	}
	r := new(route)
	if err := json.Unmarshal(res.Body, r); err != nil {
		return nil, fmt.Errorf("route of %s: %w in %q", topic, err, res.Body)
	}
	return r, nil
}

// brokerRegistered says whether the name server has the broker in its cluster table.
func brokerRegistered(namesrv, broker string) (bool, error) {
	res, err := callOnce(namesrv, codeGetBrokerClusterInfo, nil, nil)
	if err != nil {
		return false, err
	}
	return strings.Contains(string(res.Body), `"brokerName":`+strconv.Quote(broker)), nil
}

// unmarshal decodes standard JSON.
func unmarshal(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w in %.300q", err, b)
	}
	return nil
}
