package admin

import (
	"fmt"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

func groupOption(letter, name, usage string) option {
	return text(letter, name, "GROUP", usage).must()
}

func groupCommands() []spec {
	return []spec{
		{name: "updateSubGroup", short: "Create a consumer group or change its configuration", oneOf: byBrokerOrCluster(), run: updateSubGroup,
			long: "What is not given is set to its default, not left as it was: may consume, no broadcast, 1 retry queue, 16 retries.",
			options: append(brokerOrCluster("create the group on"),
				groupOption("g", "groupName", "name of the group"),
				boolean("s", "consumeEnable", "whether it may consume (default true)"),
				boolean("m", "consumeFromMinEnable", "kept by brokers, used by none (default false)"),
				boolean("d", "consumeBroadcastEnable", "whether it may broadcast (default false)"),
				boolean("o", "consumeMessageOrderly", "whether pops are ordered (default false)"),
				number("q", "retryQueueNums", "N", "queues of its retry topic (default 1)"),
				number("r", "retryMaxTimes", "N", "deliveries before the dead-letter topic (default 16)"),
				text("p", "groupRetryPolicy", "JSON", `waits between them, as {"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5000,"max":7200000,"multiplier":2}}`),
				long("i", "brokerId", "ID", "broker to consume from (default 0, the master)"),
				long("w", "whichBrokerWhenConsumeSlowly", "ID", "broker to consume from when it is far behind (default 1)"),
				boolean("a", "notifyConsumerIdsChanged", "tell members when others come and go (default true)"),
				text("", "attributes", "LIST", "attributes to set and to drop, +key=value,-key"))},
		{name: "updateSubGroupList", short: "Create or change the consumer groups of a file", oneOf: byBrokerOrCluster(), run: updateSubGroupList,
			options: append(brokerOrCluster("create the groups on"), text("f", "filename", "FILE", "JSON list of group configurations").must())},
		{name: "deleteSubGroup", short: "Delete a consumer group", oneOf: byBrokerOrCluster(), run: deleteSubGroup,
			long: "With -c its retry and dead-letter topics go, too.",
			options: append(brokerOrCluster("delete the group from"),
				groupOption("g", "groupName", "group to delete"),
				boolean("r", "removeOffset", "delete its offsets, too (default false)"))},
		{name: "getConsumerConfig", short: "Show the configuration of a consumer group on every broker", run: getConsumerConfig,
			options: []option{groupOption("g", "groupName", "name of the group")}},
		{name: "setConsumeMode", short: "Let the members of a group pull or pop a topic", oneOf: byBrokerOrCluster(), run: setConsumeMode,
			options: append(brokerOrCluster("set it on"),
				topicNamed("topicName", "topic"),
				groupOption("g", "groupName", "name of the group"),
				text("m", "mode", "MODE", "how they consume").must().of("PULL", "POP"),
				number("q", "popShareQueueNum", "N", "with POP: queues that a member pops besides its own (default 0)"))},
	}
}

// topicNamed is topicOption where Apache's long name is another.
func topicNamed(name, usage string) option {
	return text("t", name, "TOPIC", usage).must().completed(completeTopics)
}

// updateSubGroup creates or changes a group. Apache: UpdateSubGroupSubCommand.
func updateSubGroup(s *session) error {
	config := codec.NewSubscriptionGroupConfig(s.text("groupName"))
	config.ConsumeEnable = s.boolean("consumeEnable", true)
	config.ConsumeFromMinEnable = s.boolean("consumeFromMinEnable", false)
	config.ConsumeBroadcastEnable = s.boolean("consumeBroadcastEnable", false)
	config.ConsumeMessageOrderly = s.boolean("consumeMessageOrderly", false)
	config.RetryQueueNums = int32(s.number("retryQueueNums", 1))
	config.RetryMaxTimes = int32(s.number("retryMaxTimes", 16))
	config.BrokerID = s.number("brokerId", 0)
	config.WhichBrokerWhenConsumeSlowly = s.number("whichBrokerWhenConsumeSlowly", 1)
	config.NotifyConsumerIDsChangedEnable = s.boolean("notifyConsumerIdsChanged", true)
	if s.given("groupRetryPolicy") {
		if err := codec.UnmarshalJSON([]byte(s.text("groupRetryPolicy")), &config.GroupRetryPolicy); err != nil {
			return usageError{fmt.Sprintf("-p (groupRetryPolicy) is no JSON of a retry policy: %v", err)}
		}
	}
	if s.given("attributes") {
		attributes, err := parseAttributes(s.text("attributes"))
		if err != nil {
			return err
		}
		config.Attributes = attributes
	}
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	err = s.each(addrs, func(addr string) string { return "create subscription group to " + addr + " success." },
		func(addr string) error {
			c, err := withBody(request(codec.UpdateAndCreateSubscriptionGroup), config)
			if err == nil {
				_, err = s.broker(addr, c)
			}
			return err
		})
	if err == nil {
		s.say("%s", describeGroup(config))
	}
	return err
}

// describeGroup is a group as Java's SubscriptionGroupConfig.toString shows it.
func describeGroup(c *codec.SubscriptionGroupConfig) string {
	return fmt.Sprintf("SubscriptionGroupConfig{groupName=%s, consumeEnable=%t, consumeFromMinEnable=%t, consumeBroadcastEnable=%t, "+
		"consumeMessageOrderly=%t, retryQueueNums=%d, retryMaxTimes=%d, groupRetryPolicy=%s, brokerId=%d, whichBrokerWhenConsumeSlowly=%d, "+
		"notifyConsumerIdsChangedEnable=%t, groupSysFlag=%d, consumeTimeoutMinute=%d, subscriptionDataSet=%s, attributes=%s}",
		c.GroupName, c.ConsumeEnable, c.ConsumeFromMinEnable, c.ConsumeBroadcastEnable, c.ConsumeMessageOrderly, c.RetryQueueNums,
		c.RetryMaxTimes, describePolicy(&c.GroupRetryPolicy), c.BrokerID, c.WhichBrokerWhenConsumeSlowly, c.NotifyConsumerIDsChangedEnable,
		c.GroupSysFlag, c.ConsumeTimeoutMinute, describeSubscriptions(c.SubscriptionDataSet), describeAttributes(c.Attributes))
}

func describePolicy(p *codec.GroupRetryPolicy) string {
	exponential, customized := "null", "null"
	if e := p.ExponentialRetryPolicy; e != nil {
		exponential = fmt.Sprintf("ExponentialRetryPolicy{initial=%d, max=%d, multiplier=%d}", e.Initial, e.Max, e.Multiplier)
	}
	if c := p.CustomizedRetryPolicy; c != nil {
		customized = fmt.Sprintf("CustomizedRetryPolicy{next=%s}", javaLongs(c.Next))
	}
	return fmt.Sprintf("GroupRetryPolicy{type=%s, exponentialRetryPolicy=%s, customizedRetryPolicy=%s}", p.Type, exponential, customized)
}

func javaLongs(all []int64) string { return strings.ReplaceAll(fmt.Sprint(all), " ", ", ") }

func describeSubscriptions(all []codec.SimpleSubscriptionData) string {
	if all == nil {
		return "null"
	}
	var parts []string
	for _, d := range all {
		parts = append(parts, fmt.Sprintf("SimpleSubscriptionData{topic='%s', expressionType='%s', expression='%s', version=%d}",
			d.Topic, d.ExpressionType, d.Expression, d.Version))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func describeAttributes(m map[string]string) string {
	var parts []string
	for _, key := range sortedKeys(m) {
		parts = append(parts, key+"="+m[key])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// updateSubGroupList creates or changes the groups of a file. Apache: UpdateSubGroupListSubCommand.
func updateSubGroupList(s *session) error {
	var list codec.SubscriptionGroupList
	if err := readList(s.text("filename"), "group configurations", &list.GroupConfigList); err != nil {
		return err
	}
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	return s.each(addrs,
		func(addr string) string {
			return fmt.Sprintf("submit batch of subscription group config to %s success, please check the result later.", addr)
		},
		func(addr string) error {
			c, err := withBody(request(codec.UpdateAndCreateSubscriptionGroupList), list)
			if err == nil {
				_, err = s.broker(addr, c)
			}
			return err
		})
}

// deleteSubGroup deletes a group. Apache: DeleteSubscriptionGroupCommand.
func deleteSubGroup(s *session) error {
	group := s.text("groupName")
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	in := ""
	if !s.given("brokerAddr") {
		in = fmt.Sprintf(" in cluster [%s]", s.text("clusterName"))
	}
	err = s.each(addrs,
		func(addr string) string {
			return fmt.Sprintf("delete subscription group [%s] from broker [%s]%s success.", group, addr, in)
		},
		func(addr string) error {
			_, err := s.broker(addr, request(codec.DeleteSubscriptionGroup, "groupName", group, "cleanOffset", s.boolean("removeOffset", false)))
			return err
		})
	if err != nil || s.given("brokerAddr") {
		return err
	}
	for _, topic := range []string{"%RETRY%" + group, "%DLQ%" + group} {
		for _, addr := range addrs {
			if _, err := s.broker(addr, request(codec.DeleteTopicInBroker, "topic", topic)); err != nil {
				return err
			}
		}
		if err := s.everyNamesrv(func() *codec.Command {
			return request(codec.DeleteTopicInNamesrv, "topic", topic, "clusterName", s.text("clusterName"))
		}); err != nil {
			return err
		}
	}
	return nil
}

// getConsumerConfig shows a group's configuration on every broker that has it. Apache: GetConsumerConfigSubCommand.
func getConsumerConfig(s *session) error {
	group := s.text("groupName")
	info, err := s.clusterInfo()
	if err != nil {
		return err
	}
	s.list()
	for _, name := range sortedKeys(info.BrokerAddrTable) {
		addr := selectAddr(info.BrokerAddrTable[name])
		var all codec.SubscriptionGroupTable
		if err := s.brokerBody(addr, request(codec.GetAllSubscriptionGroupConfig), &all); err != nil {
			return err
		}
		c := all.SubscriptionGroupTable[group]
		if c == nil {
			continue
		}
		cluster := strings.Join(clustersOf(info, name), ",")
		line := strings.Repeat("=", 29)
		s.say("%s%s:%s%s\n", line, cluster, name, line)
		s.sayGroup(c)
		s.add(record{{"cluster", cluster}, {"brokerName", name}, {"config", c}})
	}
	return nil
}

func (s *session) sayGroup(c *codec.SubscriptionGroupConfig) {
	subscriptions := ""
	if c.SubscriptionDataSet != nil {
		subscriptions = describeSubscriptions(c.SubscriptionDataSet)
	}
	for _, field := range [][2]any{
		{"groupName", c.GroupName}, {"consumeEnable", c.ConsumeEnable}, {"consumeFromMinEnable", c.ConsumeFromMinEnable},
		{"consumeBroadcastEnable", c.ConsumeBroadcastEnable}, {"consumeMessageOrderly", c.ConsumeMessageOrderly},
		{"retryQueueNums", c.RetryQueueNums}, {"retryMaxTimes", c.RetryMaxTimes}, {"groupRetryPolicy", describePolicy(&c.GroupRetryPolicy)},
		{"brokerId", c.BrokerID}, {"whichBrokerWhenConsumeSlowly", c.WhichBrokerWhenConsumeSlowly},
		{"notifyConsumerIdsChangedEnable", c.NotifyConsumerIDsChangedEnable}, {"groupSysFlag", c.GroupSysFlag},
		{"consumeTimeoutMinute", c.ConsumeTimeoutMinute}, {"subscriptionDataSet", subscriptions}, {"attributes", describeAttributes(c.Attributes)},
	} {
		s.say("%-40s=  %v\n", field[0], field[1])
	}
}

// setConsumeMode lets a group pull or pop. Apache: SetConsumeModeSubCommand.
func setConsumeMode(s *session) error {
	mode := codec.MessageRequestMode{Topic: s.text("topicName"), ConsumerGroup: s.text("groupName"), Mode: s.text("mode"),
		PopShareQueueNum: int32(s.number("popShareQueueNum", 0))}
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	err = s.each(addrs, func(addr string) string { return "set consume mode to " + addr + " success." },
		func(addr string) error {
			c, err := withBody(request(codec.SetMessageRequestMode), mode)
			if err == nil {
				_, err = s.broker(addr, c)
			}
			return err
		})
	if err == nil {
		s.say("topic[%s] group[%s] consume mode[%s] popShareQueueNum[%d]", mode.Topic, mode.ConsumerGroup, mode.Mode, mode.PopShareQueueNum)
	}
	return err
}
