package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

func haCommands() []spec {
	interval := number("i", "interval", "SECONDS", "again and again")
	return []spec{
		{name: "haStatus", short: "Show how far slaves are behind their master", anyOf: byBrokerOrCluster(), run: haStatus,
			options: append(brokerOrCluster("show"), interval)},
		{name: "getBrokerEpoch", short: "Show the epochs of brokers that a controller leads", oneOf: [][]string{{"clusterName", "brokerName"}},
			run: getBrokerEpoch, options: []option{
				text("c", "clusterName", "CLUSTER", "every broker of this cluster").completed(completeClusters),
				text("b", "brokerName", "NAME", "the brokers of this name").completed(completeBrokerNames), interval}},
	}
}

// haRuntime is the answer of GET_BROKER_HA_STATUS. Apache: HARuntimeInfo.
type haRuntime struct {
	Master                   bool  `json:"master"`
	MasterCommitLogMaxOffset int64 `json:"masterCommitLogMaxOffset"`
	InSyncSlaveNums          int32 `json:"inSyncSlaveNums"`
	Slaves                   []struct {
		Addr                    string `json:"addr"`
		SlaveAckOffset          int64  `json:"slaveAckOffset"`
		Diff                    int64  `json:"diff"`
		InSync                  bool   `json:"inSync"`
		TransferredByteInSecond int64  `json:"transferredByteInSecond"`
		TransferFromWhere       int64  `json:"transferFromWhere"`
	} `json:"haConnectionInfo"`
	Client struct {
		MasterAddr              string `json:"masterAddr"`
		TransferredByteInSecond int64  `json:"transferredByteInSecond"`
		MaxOffset               int64  `json:"maxOffset"`
		LastReadTimestamp       int64  `json:"lastReadTimestamp"`
		LastWriteTimestamp      int64  `json:"lastWriteTimestamp"`
		MasterFlushOffset       int64  `json:"masterFlushOffset"`
	} `json:"haClientRuntimeInfo"`
}

// haStatus shows how far slaves are behind. Apache: HAStatusSubCommand.
func haStatus(s *session) error {
	return s.repeat(func() error {
		addrs, err := s.targets()
		if err != nil {
			return err
		}
		return s.all(addrs, func(addr string) error {
			var ha haRuntime
			if err := s.brokerBody(addr, request(codec.GetBrokerHAStatus), &ha); err != nil {
				return err
			}
			s.showHA(addr, &ha)
			s.add(record{{"addr", addr}, {"ha", ha}})
			return nil
		})
	})
}

func (s *session) showHA(addr string, ha *haRuntime) {
	if !ha.Master {
		c := ha.Client
		s.say("\n#MasterAddr\t%s\n#CommitLogMaxOffset\t%d\n#TransferSpeed(KB/s)\t%.2f\n#LastReadTime\t%s\n#LastWriteTime\t%s\n#MasterFlushOffset\t%d\n",
			c.MasterAddr, c.MaxOffset, float64(c.TransferredByteInSecond)/1024, epochTime(c.LastReadTimestamp), epochTime(c.LastWriteTimestamp),
			c.MasterFlushOffset)
		return
	}
	s.say("\n#MasterAddr\t%s\n#MasterCommitLogMaxOffset\t%d\n#SlaveNum\t%d\n#InSyncSlaveNum\t%d\n", addr, ha.MasterCommitLogMaxOffset,
		len(ha.Slaves), ha.InSyncSlaveNums)
	s.say("%-32s  %-16s %16s %16s %16s %16s\n", "#SlaveAddr", "#SlaveAckOffset", "#Diff", "#TransferSpeed(KB/s)", "#Status", "#TransferFromWhere")
	for _, c := range ha.Slaves {
		status := "Fall Behind"
		if c.InSync {
			status = "OK"
		}
		s.say("%-32s  %-16d %16d %16.2f %16s %16d\n", c.Addr, c.SlaveAckOffset, c.Diff, float64(c.TransferredByteInSecond)/1024, status,
			c.TransferFromWhere)
	}
}

// epochTime is timeMs that shows 0 as the year 1970, as Apache's command does.
func epochTime(ms int64) string { return cmp.Or(timeMs(ms), "1970-01-01 00:00:00,000") }

// epochs is the answer of GET_BROKER_EPOCH_CACHE. Apache: EpochEntryCache.
type epochs struct {
	ClusterName string `json:"clusterName"`
	BrokerName  string `json:"brokerName"`
	BrokerID    int64  `json:"brokerId"`
	MaxOffset   int64  `json:"maxOffset"`
	List        []struct {
		Epoch       int32 `json:"epoch"`
		StartOffset int64 `json:"startOffset"`
		EndOffset   int64 `json:"endOffset"`
	} `json:"epochList"`
}

// getBrokerEpoch shows the epochs of brokers. Apache: GetBrokerEpochSubCommand.
func getBrokerEpoch(s *session) error {
	return s.repeat(func() error {
		addrs, err := s.epochTargets()
		if err != nil {
			return err
		}
		return s.all(addrs, func(addr string) error {
			var e epochs
			if err := s.brokerBody(addr, request(codec.GetBrokerEpochCache), &e); err != nil {
				return err
			}
			s.say("\n#clusterName\t%s\n#brokerName\t%s\n#brokerAddr\t%s\n#brokerId\t%d", e.ClusterName, e.BrokerName, addr, e.BrokerID)
			for i := range e.List {
				if i == len(e.List)-1 {
					e.List[i].EndOffset = e.MaxOffset // the last one goes on
				}
				s.say("\n#Epoch: EpochEntry{epoch=%d, startOffset=%d, endOffset=%d}", e.List[i].Epoch, e.List[i].StartOffset, e.List[i].EndOffset)
			}
			s.say("\n")
			s.add(record{{"addr", addr}, {"epochs", e}})
			return nil
		})
	})
}

func (s *session) epochTargets() ([]string, error) {
	if !s.given("brokerName") {
		return s.everyBroker(s.text("clusterName"))
	}
	info, err := s.clusterInfo()
	if err != nil {
		return nil, err
	}
	name := s.text("brokerName")
	addrs := inOrder(info.BrokerAddrTable[name].BrokerAddrs)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("the name server knows no broker %s; it has %s", name, listOf(sortedKeys(info.BrokerAddrTable)))
	}
	return addrs, nil
}

func seconds(n int64) time.Duration { return time.Duration(max(n, 0)) * time.Second }

// numbered is an address with its broker id.
type numbered struct {
	id   int64
	addr string
}

// byID returns addresses in the order of the broker ids.
func byID(addrs map[int64]string) []numbered {
	var all []numbered
	for _, id := range slices.Sorted(maps.Keys(addrs)) {
		all = append(all, numbered{id, addrs[id]})
	}
	return all
}
