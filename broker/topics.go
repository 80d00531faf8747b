package broker

import (
	"net/netip"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// haAddr is what the name server tells slaves. Nothing listens there in this version; clients never use it. Apache:
// BrokerController.getHAServerAddr.
func haAddr(cfg Config, ip netip.Addr) string {
	host := cfg.IP2
	if host == "" {
		host = ip.String()
	}
	port := cfg.HAListenPort
	if port == 0 {
		port = cfg.ListenPort + 1
	}
	return hostPort(host, port)
}

// topicsToRegister are all topics with permissions bounded by the broker's, so that a broker without write permission takes
// itself out of every route. Apache: BrokerController.registerBrokerAll.
func (b *Broker) topicsToRegister() codec.TopicConfigAndMapping {
	topics, version := b.topics.Snapshot()
	perm := b.config.permission()
	if perm&(codec.PermRead|codec.PermWrite) != codec.PermRead|codec.PermWrite {
		for name, t := range topics {
			bounded := *t
			bounded.Perm &= perm
			topics[name] = &bounded
		}
	}
	mappings, mappingVersion := b.mappings.Snapshot()
	infos := make(map[string]*codec.TopicQueueMappingInfo, len(mappings))
	for name, detail := range mappings {
		infos[name] = store.MappingInfo(detail)
	}
	return codec.TopicConfigAndMapping{
		DataVersion: version, TopicConfigTable: topics, MappingDataVersion: mappingVersion,
		TopicQueueMappingDetailMap: map[string]*codec.TopicQueueMappingDetail{}, TopicQueueMappingInfoMap: infos,
	}
}

// topicsChanged has the name servers told. Topics that are gone are told by leaving them out of all topics.
func (b *Broker) topicsChanged(changed map[string]*codec.TopicConfig) {
	if len(changed) > maxFreshTopics {
		b.register.Changed()
		return
	}
	perm := b.config.permission()
	topics := make([]codec.QueuesOfTopic, 0, len(changed))
	for name, t := range changed {
		if t == nil {
			b.register.Changed()
			return
		}
		topics = append(topics, codec.QueuesOfTopic{Topic: name, Queues: codec.QueueData{Perm: t.Perm & perm, ReadQueueNums: t.ReadQueueNums,
			WriteQueueNums: t.WriteQueueNums, TopicSysFlag: t.TopicSysFlag}})
	}
	b.register.ChangedTopics(topics)
}

// newPeers finds other brokers by the name servers that this one is registered at.
func (b *Broker) newPeers() *peers {
	return &peers{namesrvs: b.register.Namesrvs, call: b.client.Call}
}
