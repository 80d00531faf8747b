package admin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

func controllerCommands() []spec {
	one := text("a", "controllerAddress", "ADDR", "a controller, host:port").must()
	list := text("a", "controllerAddress", "ADDR;ADDR", "controllers, separated by \";\"").must()
	broker := text("bn", "brokerName", "NAME", "name of the broker set").must()
	return []spec{
		{name: "getControllerMetaData", short: "Show the leader and the peers of the controllers", run: getControllerMetaData,
			options: []option{one}},
		{name: "getControllerConfig", short: "Show the configuration of controllers", options: []option{list}, run: func(s *session) error {
			return s.showConfigs(s.controllers(), codec.GetControllerConfig, "controller")
		}},
		{name: "updateControllerConfig", short: "Change the configuration of running controllers",
			options: []option{list, text("k", "key", "KEY", "key of controller.conf").must(), text("v", "value", "VALUE", "its value").must()},
			run: func(s *session) error {
				return s.updateConfigs(s.controllers(), s.controllers(), codec.UpdateControllerConfig, "controller")
			}},
		{name: "electMaster", short: "Make a broker the master of its set", run: electMaster, options: []option{one,
			text("c", "clusterName", "CLUSTER", "cluster of the broker").must(), broker,
			long("b", "brokerId", "ID", "id of the broker that shall be master").must()}},
		{name: "getSyncStateSet", short: "Show which replicas are in sync, as the controller knows", anyOf: [][]string{{"clusterName", "brokerName"}},
			run: getSyncStateSet, options: []option{one,
				text("c", "clusterName", "CLUSTER", "every broker set of this cluster").completed(completeClusters),
				text("b", "brokerName", "NAME", "this broker set").completed(completeBrokerNames),
				number("i", "interval", "SECONDS", "again and again")}},
		{name: "cleanBrokerMetadata", short: "Make the controller forget brokers", run: cleanBrokerMetadata, options: []option{one, broker,
			text("c", "clusterName", "CLUSTER", "cluster of the brokers; needed without -l"),
			text("b", "brokerControllerIdsToClean", "ID;ID", "ids to forget; else all of the set"),
			toggle("l", "cleanLivingBroker", "brokers that are alive, too")}},
	}
}

// controllers are the addresses of -a.
func (s *session) controllers() []string {
	return strings.FieldsFunc(s.text("controllerAddress"), func(r rune) bool { return r == ';' || r == ' ' })
}

// controllerMeta asks a controller who leads.
func (s *session) controllerMeta(addr string) (*codec.Command, error) {
	resp, err := s.ask(addr, request(codec.ControllerGetMetadataInfo))
	if err != nil {
		return nil, fmt.Errorf("controller %s: %w", addr, err)
	}
	return resp, nil
}

// leader asks the first controller of -a who leads, and the leader for c.
func (s *session) leader(c *codec.Command) (*codec.Command, error) {
	all := s.controllers()
	if len(all) == 0 {
		return nil, usageError{"-a (controllerAddress) names no address"}
	}
	meta, err := s.controllerMeta(all[0])
	if err != nil {
		return nil, err
	}
	addr := answer(meta, "controllerLeaderAddress")
	if addr == "" {
		return nil, fmt.Errorf("the controllers at %s have no leader", all[0])
	}
	resp, err := s.ask(addr, c)
	if err != nil {
		return nil, fmt.Errorf("controller %s: %w", addr, err)
	}
	return resp, nil
}

// getControllerMetaData shows who leads. Apache: GetControllerMetaDataSubCommand.
func getControllerMetaData(s *session) error {
	meta, err := s.controllerMeta(s.text("controllerAddress"))
	if err != nil {
		return err
	}
	group, id, addr := answer(meta, "group"), answer(meta, "controllerLeaderId"), answer(meta, "controllerLeaderAddress")
	peers := strings.FieldsFunc(answer(meta, "peers"), func(r rune) bool { return r == ';' })
	s.say("\n#ControllerGroup\t%s\n#ControllerLeaderId\t%s\n#ControllerLeaderAddress\t%s", group, id, addr)
	for _, peer := range peers {
		s.say("\n#Peer:\t%s", peer)
	}
	s.say("\n")
	s.result(record{{"group", group}, {"leaderId", id}, {"leaderAddr", addr}, {"peers", peers}})
	return nil
}

// electMaster makes a broker master. Apache: ReElectMasterSubCommand.
func electMaster(s *session) error {
	cluster, name := s.text("clusterName"), s.text("brokerName")
	resp, err := s.leader(request(codec.ControllerElectMaster, "clusterName", cluster, "brokerName", name,
		"brokerId", s.number("brokerId", 0), "designateElect", true, "invokeTime", s.now().UnixMilli()))
	if err != nil {
		return err
	}
	master, epoch, setEpoch := answer(resp, "masterAddress"), answer(resp, "masterEpoch"), answer(resp, "syncStateSetEpoch")
	var group codec.BrokerMemberGroup
	if len(resp.Body) > 0 {
		if err := codec.UnmarshalJSON(resp.Body, &group); err != nil {
			return fmt.Errorf("answer of the controller: %w", err)
		}
	}
	s.say("\n#ClusterName\t%s\n#BrokerName\t%s\n#BrokerMasterAddr\t%s\n#MasterEpoch\t%s\n#SyncStateSetEpoch\t%s\n", cluster, name, master,
		epoch, setEpoch)
	for _, m := range byID(group.BrokerAddrs) {
		s.say("\t#Broker\t%d\t%s\n", m.id, m.addr)
	}
	s.result(record{{"clusterName", cluster}, {"brokerName", name}, {"masterAddr", master}, {"masterEpoch", integer(epoch)},
		{"syncStateSetEpoch", integer(setEpoch)}, {"brokerAddrs", group.BrokerAddrs}})
	return nil
}

// replicas is the answer of CONTROLLER_GET_SYNC_STATE_DATA. Apache: BrokerReplicasInfo.
type replicas struct {
	Table map[string]struct {
		MasterBrokerID    int64     `json:"masterBrokerId"`
		MasterAddress     string    `json:"masterAddress"`
		MasterEpoch       int32     `json:"masterEpoch"`
		SyncStateSetEpoch int32     `json:"syncStateSetEpoch"`
		InSync            []replica `json:"inSyncReplicas"`
		NotInSync         []replica `json:"notInSyncReplicas"`
	} `json:"replicasInfoTable"`
}

// replica is one broker of a set. Apache: BrokerReplicasInfo.ReplicaIdentity.
type replica struct {
	BrokerName    string `json:"brokerName"`
	BrokerID      int64  `json:"brokerId"`
	BrokerAddress string `json:"brokerAddress"`
	Alive         bool   `json:"alive"`
}

func (r replica) String() string {
	return fmt.Sprintf("ReplicaIdentity{brokerName='%s', brokerId=%d, brokerAddress='%s', alive=%t}", r.BrokerName, r.BrokerID,
		r.BrokerAddress, r.Alive)
}

// getSyncStateSet shows which replicas are in sync. Apache: GetSyncStateSetSubCommand.
func getSyncStateSet(s *session) error {
	return s.repeat(func() error {
		names := []string{s.text("brokerName")}
		if !s.given("brokerName") {
			info, err := s.clusterInfo()
			if err != nil {
				return err
			}
			if names, err = brokerNames(info, s.text("clusterName")); err != nil {
				return err
			}
		}
		c, err := withBody(request(codec.ControllerGetSyncStateData), names)
		if err != nil {
			return err
		}
		resp, err := s.leader(c)
		if err != nil {
			return err
		}
		var all replicas
		if err := codec.UnmarshalJSON(resp.Body, &all); err != nil {
			return fmt.Errorf("answer of the controller: %w", err)
		}
		for _, name := range sortedKeys(all.Table) {
			set := all.Table[name]
			s.say("\n#brokerName\t%s\n#MasterBrokerId\t%d\n#MasterAddr\t%s\n#MasterEpoch\t%d\n#SyncStateSetEpoch\t%d\n#SyncStateSetNums\t%d\n",
				name, set.MasterBrokerID, set.MasterAddress, set.MasterEpoch, set.SyncStateSetEpoch, len(set.InSync))
			for _, r := range set.InSync {
				s.say("\nInSyncReplica:\t%s\n", r)
			}
			for _, r := range set.NotInSync {
				s.say("\nNotInSyncReplica:\t%s\n", r)
			}
		}
		s.result(all.Table)
		return nil
	})
}

// repeat runs round once, or again and again with -i. Apache's commands with this option wait three seconds for -i 0.
func (s *session) repeat(round func() error) error {
	return s.every(seconds(s.number("interval", 3)), s.given("interval"), round)
}

// cleanBrokerMetadata makes the controller forget brokers. Apache: CleanControllerBrokerMetaSubCommand.
func cleanBrokerMetadata(s *session) error {
	name, living := s.text("brokerName"), s.boolean("cleanLivingBroker", false)
	if !living && s.text("clusterName") == "" {
		return usageError{"cleanBrokerMetadata needs -c (clusterName) unless -l (cleanLivingBroker) is given"}
	}
	var cluster, ids any
	if s.given("clusterName") {
		cluster = s.text("clusterName")
	}
	if s.given("brokerControllerIdsToClean") {
		ids = s.text("brokerControllerIdsToClean")
		for _, id := range strings.Split(ids.(string), ";") {
			if _, err := strconv.ParseInt(id, 10, 64); err != nil {
				return usageError{fmt.Sprintf("-b (brokerControllerIdsToClean) wants numbers separated by \";\", not %q", id)}
			}
		}
	}
	if _, err := s.leader(request(codec.CleanBrokerData, "clusterName", cluster, "brokerName", name, "brokerControllerIdsToClean", ids,
		"isCleanLivingBroker", living, "invokeTime", s.now().UnixMilli())); err != nil {
		return err
	}
	s.say("clear broker %s metadata from controller success! \n", name)
	s.result(record{{"brokerName", name}, {"ok", true}})
	return nil
}
