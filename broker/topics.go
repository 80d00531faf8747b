package broker

import (
	"net/netip"

	"github.com/apogee-mq/apogee/codec"
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
	return codec.TopicConfigAndMapping{
		DataVersion: version, TopicConfigTable: topics,
		TopicQueueMappingDetailMap: map[string]*codec.TopicQueueMappingDetail{}, TopicQueueMappingInfoMap: map[string]*codec.TopicQueueMappingInfo{},
	}
}
