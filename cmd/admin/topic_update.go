package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// orderNamespace is where the name server keeps which queues an ordered topic has. Apache: NamesrvUtil.
const orderNamespace = "ORDER_TOPIC_CONFIG"

// updateTopic creates or changes a topic. Apache: UpdateTopicSubCommand.
func updateTopic(s *session) error {
	topic, err := s.topicFromOptions()
	if err != nil {
		return err
	}
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	err = s.each(addrs, func(addr string) string { return fmt.Sprintf("create topic to %s success.", addr) },
		func(addr string) error { return s.putTopic(addr, topic) })
	if err != nil {
		return err
	}
	if topic.Order {
		if err := s.orderTopic(topic, addrs); err != nil {
			return err
		}
	}
	s.say("%s\n", describeTopic(topic))
	return nil
}

// topicFromOptions reads the topic that the options of updateTopic describe.
func (s *session) topicFromOptions() (*codec.TopicConfig, error) {
	topic := codec.NewTopicConfig(s.text("topic"))
	topic.ReadQueueNums, topic.WriteQueueNums = int32(s.number("readQueueNums", 8)), int32(s.number("writeQueueNums", 8))
	topic.Perm = int32(s.number("perm", int64(topic.Perm)))
	topic.Order = s.boolean("order", false)
	if s.boolean("unit", false) {
		topic.TopicSysFlag |= 1
	}
	if s.boolean("hasUnitSub", false) {
		topic.TopicSysFlag |= 2
	}
	var err error
	topic.Attributes, err = parseAttributes(s.text("attributes"))
	return topic, err
}

// parseAttributes reads "+key=value,-key". Apache: AttributeParser.
func parseAttributes(text string) (map[string]string, error) {
	all := map[string]string{}
	if text == "" {
		return all, nil
	}
	for _, part := range strings.Split(text, ",") {
		key, value, assigned := strings.Cut(part, "=")
		switch {
		case assigned && strings.HasPrefix(key, "+") && len(key) > 1 && !strings.Contains(value, "="):
		case !assigned && strings.HasPrefix(key, "-") && len(key) > 1:
		default:
			return nil, usageError{fmt.Sprintf("attribute %q is neither +key=value nor -key", part)}
		}
		if _, twice := all[key]; twice {
			return nil, usageError{fmt.Sprintf("attribute %q stands twice", key)}
		}
		all[key] = value
	}
	return all, nil
}

// putTopic asks one broker to create or change a topic.
func (s *session) putTopic(addr string, t *codec.TopicConfig) error {
	var attributes []string
	for _, key := range sortedKeys(t.Attributes) {
		if strings.HasPrefix(key, "-") {
			attributes = append(attributes, key)
		} else {
			attributes = append(attributes, key+"="+t.Attributes[key])
		}
	}
	_, err := s.broker(addr, request(codec.UpdateAndCreateTopic, "topic", t.TopicName, "defaultTopic", "TBW102",
		"readQueueNums", t.ReadQueueNums, "writeQueueNums", t.WriteQueueNums, "perm", t.Perm, "topicFilterType", t.TopicFilterType,
		"topicSysFlag", t.TopicSysFlag, "order", t.Order, "attributes", strings.Join(attributes, ",")))
	return err
}

// orderTopic tells the name servers which queues an ordered topic has: with -b those of one broker in addition, with -c those of the
// whole cluster.
func (s *session) orderTopic(topic *codec.TopicConfig, addrs []string) error {
	info, err := s.clusterInfo()
	if err != nil {
		return err
	}
	if !s.given("brokerAddr") {
		names, err := brokerNames(info, s.text("clusterName"))
		if err != nil {
			return err
		}
		var conf []string
		for _, name := range names {
			conf = append(conf, fmt.Sprintf("%s:%d", name, topic.WriteQueueNums))
		}
		all := strings.Join(conf, ";")
		if err := s.putKV(orderNamespace, topic.TopicName, all); err != nil {
			return err
		}
		s.say("set cluster orderConf. isOrder=%t, orderConf=[%s]\n", topic.Order, all)
		return nil
	}
	name := nameOfAddr(info, addrs[0])
	if name == "" {
		return fmt.Errorf("no broker of the name server has the address %s, so the order of %s is not kept", addrs[0], topic.TopicName)
	}
	own := fmt.Sprintf("%s:%d", name, topic.WriteQueueNums)
	old, err := s.getKV(orderNamespace, topic.TopicName)
	if err != nil && answered(err) != codec.QueryNotFound {
		return err
	}
	conf := []string{}
	for _, part := range strings.Split(old, ";") {
		if of, _, _ := strings.Cut(part, ":"); part != "" && of != name {
			conf = append(conf, part)
		}
	}
	if err := s.putKV(orderNamespace, topic.TopicName, strings.Join(append(conf, own), ";")); err != nil {
		return err
	}
	s.say("set broker orderConf. isOrder=%t, orderConf=[%s]\n", topic.Order, own)
	return nil
}

// describeTopic is a topic in the words of Java's TopicConfig.toString.
func describeTopic(t *codec.TopicConfig) string {
	return fmt.Sprintf("TopicConfig [topicName=%s, readQueueNums=%d, writeQueueNums=%d, perm=%s, topicFilterType=%s, topicSysFlag=%d, "+
		"order=%t, attributes=%s]", t.TopicName, t.ReadQueueNums, t.WriteQueueNums, permText(t.Perm), t.TopicFilterType, t.TopicSysFlag,
		t.Order, javaMap(t.Attributes))
}

// permText is a permission in letters. Apache: PermName.perm2String.
func permText(perm int32) string {
	b := []byte("---")
	for i, bit := range []int32{codec.PermRead, codec.PermWrite, codec.PermInherit} {
		if perm&bit != 0 {
			b[i] = "RWX"[i]
		}
	}
	return string(b)
}

// updateTopicList creates or changes the topics of a file. Apache: UpdateTopicListSubCommand.
func updateTopicList(s *session) error {
	var list codec.CreateTopicListBody
	if err := readList(s.text("filename"), "topic", &list.TopicConfigList); err != nil {
		return err
	}
	for i, t := range list.TopicConfigList {
		if t == nil || t.TopicName == "" {
			return fmt.Errorf("topic %d of %s has no topicName", i+1, s.text("filename"))
		}
	}
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	return s.each(addrs, func(addr string) string {
		return fmt.Sprintf("submit batch of topic config to %s success, please check the result later.", addr)
	}, func(addr string) error {
		c, err := withBody(request(codec.UpdateAndCreateTopicList), &list)
		if err == nil {
			_, err = s.broker(addr, c)
		}
		return err
	})
}

// readList reads a JSON list from a file.
func readList[T any](path, what string, list *[]T) error {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the file %s does not exist", path)
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := codec.UnmarshalJSON(b, list); err != nil {
		return fmt.Errorf("%s is no JSON list of %s configurations: %w", path, what, err)
	}
	if len(*list) == 0 {
		return fmt.Errorf("%s holds no %s", path, what)
	}
	return nil
}

// deleteTopic deletes a topic on the masters of a cluster, then from the name servers. Apache: DeleteTopicSubCommand.
func deleteTopic(s *session) error {
	topic, cluster := s.text("topic"), s.text("clusterName")
	addrs, err := s.masters(cluster)
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		if _, err := s.broker(addr, request(codec.DeleteTopicInBroker, "topic", topic)); err != nil {
			return fmt.Errorf("%w; nothing more was deleted", err)
		}
		s.add(record{{"addr", addr}, {"ok", true}})
	}
	s.say("delete topic [%s] from cluster [%s] success.\n", topic, cluster)
	err = s.everyNamesrv(func() *codec.Command {
		return request(codec.DeleteTopicInNamesrv, "topic", topic, "clusterName", cluster)
	})
	if err != nil {
		return err
	}
	s.say("delete topic [%s] from NameServer success.\n", topic)
	return nil
}

// updateTopicPerm changes what may be done with a topic; all else stays as it is in the route. Apache: UpdateTopicPermSubCommand.
func updateTopicPerm(s *session) error {
	name, perm := s.text("topic"), int32(s.number("perm", 0))
	route, err := s.route(name)
	if err != nil {
		return err
	}
	if len(route.QueueDatas) == 0 {
		return fmt.Errorf("topic %s has no queues", name)
	}
	first := route.QueueDatas[0]
	topic := codec.NewTopicConfig(name)
	topic.ReadQueueNums, topic.WriteQueueNums, topic.TopicSysFlag = first.ReadQueueNums, first.WriteQueueNums, first.TopicSysFlag
	topic.Perm = perm
	if !s.given("brokerAddr") {
		addrs, err := s.masters(s.text("clusterName"))
		if err != nil {
			return err
		}
		return s.each(addrs, func(addr string) string {
			return fmt.Sprintf("update topic perm from %d to %d in %s success.", first.Perm, perm, addr)
		}, func(addr string) error { return s.putTopic(addr, topic) })
	}
	addr := s.text("brokerAddr")
	old, err := permAt(route, addr)
	if err != nil {
		return fmt.Errorf("topic %s: %w", name, err)
	}
	if old == perm {
		s.say("new perm equals to the old one!\n")
		s.add(record{{"addr", addr}, {"ok", true}})
		return nil
	}
	return s.each([]string{addr}, func(addr string) string {
		return fmt.Sprintf("update topic perm from %d to %d in %s success.\n%s.", old, perm, addr, describeTopic(topic))
	}, func(addr string) error { return s.putTopic(addr, topic) })
}

// permAt returns what may be done with a topic on the master at an address.
func permAt(route *codec.TopicRouteData, addr string) (int32, error) {
	for _, b := range route.BrokerDatas {
		if b.BrokerAddrs[masterID] != addr {
			continue
		}
		for _, q := range route.QueueDatas {
			if q.BrokerName == b.BrokerName {
				return q.Perm, nil
			}
		}
		return 0, nil
	}
	return 0, fmt.Errorf("the broker %s does not exist or is no master", addr)
}

// updateOrderConf reads, writes or deletes which queues an ordered topic has. Apache: UpdateOrderConfCommand.
func updateOrderConf(s *session) error {
	topic := s.text("topic")
	switch s.text("method") {
	case "get":
		conf, err := s.getKV(orderNamespace, topic)
		if err != nil {
			return err
		}
		s.say("get orderConf success. topic=[%s], orderConf=[%s] \n", topic, conf)
		s.result(record{{"topic", topic}, {"orderConf", conf}})
	case "put":
		conf := s.text("orderConf")
		if conf == "" {
			return usageError{"updateOrderConf -m put needs -v (orderConf)"}
		}
		if err := s.putKV(orderNamespace, topic, conf); err != nil {
			return err
		}
		s.say("update orderConf success. topic=[%s], orderConf=[%s]\n", topic, conf)
		s.result(record{{"topic", topic}, {"orderConf", conf}})
	case "delete":
		if err := s.deleteKV(orderNamespace, topic); err != nil {
			return err
		}
		s.say("delete orderConf success. topic=[%s]\n", topic)
		s.result(record{{"topic", topic}, {"orderConf", nil}})
	}
	return nil
}
