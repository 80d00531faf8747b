package namesrv

import (
	"fmt"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// REGISTER_BROKER 103, UNREGISTER_BROKER 104, QUERY_DATA_VERSION 322, BROKER_HEARTBEAT 904: the life of a broker.
//
// A broker sends all its topics every 30 s, as JSON or compressed, and each new topic at once. It expects the address of its
// master when it is a slave, and the order configuration as body. 322 asks whether the server has another version of the
// topics; it and 904 are signs of life. Brokers before V3_0_11 send the topics alone.
// Left out: NOTIFY_MIN_BROKER_ID_CHANGE to the brokers of a name (notifyMinBrokerIdChanged, false by default).
// Apache: DefaultRequestProcessor, RouteInfoManager, BatchUnregistrationService.

// versionV3011 is the MQVersion ordinal of V3_0_11.
const versionV3011 = 37

func (s *Server) register(req *remoting.Request) (*codec.Command, error) {
	var h codec.RegisterBrokerHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	for _, f := range []struct{ name, value string }{{"brokerName", h.BrokerName}, {"brokerAddr", h.BrokerAddr}, {"clusterName", h.ClusterName}} {
		if f.value == "" {
			return nil, missing(f.name)
		}
	}
	if h.BodyCRC32 != 0 && int32(codec.BodyCRC(req.Body)) != h.BodyCRC32 {
		s.log.Warn("registration is damaged, its checksum does not match", "broker", h.BrokerName, "client", req.Conn.RemoteAddr())
		return nil, &codec.Refusal{Code: codec.SystemError, Remark: "crc32 not match"}
	}
	reg, err := registrationOf(req, &h)
	if err != nil {
		s.log.Warn("registration is refused", "broker", h.BrokerName, "client", req.Conn.RemoteAddr(), "err", err)
		return nil, &codec.Refusal{Code: codec.SystemError, Remark: err.Error()}
	}
	leader, known, err := s.takeIn(req, reg, h.Compressed || isZlib(req.Body))
	if err != nil {
		return nil, err
	}
	if !known {
		s.log.Warn("first registration of a broker holds a single topic and is refused", "broker", h.BrokerName, "addr", h.BrokerAddr)
		return nil, &codec.Refusal{Code: codec.SystemError, Remark: "register broker failed"}
	}
	if req.Conn.Closed() {
		s.connClosed(req.Conn, nil) // it may have ended before its broker was known
	}
	resp := req.Response(codec.Success)
	resp.Header = &codec.RegisterBrokerResponse{HAServerAddr: leader.haAddr, MasterAddr: leader.addr}
	if s.settings.Load().ReturnOrderTopicConfigToBroker {
		if table, ok := s.kv.list(orderTopicNamespace); ok {
			if resp.Body, err = codec.MarshalJSON(codec.KVTable{Table: table}); err != nil {
				return nil, err
			}
		}
	}
	return resp, nil
}

func registrationOf(req *remoting.Request, h *codec.RegisterBrokerHeader) (*registration, error) {
	reg := &registration{cluster: h.ClusterName, name: h.BrokerName, addr: h.BrokerAddr, id: h.BrokerID, haAddr: h.HAServerAddr,
		timeout: defaultHeartbeatTimeout, actingMaster: h.EnableActingMaster, conn: req.Conn}
	if zone, ok := req.Field(fieldZoneName); ok {
		reg.zone = string(zone)
	}
	if h.HeartbeatTimeoutMs != nil {
		reg.timeout = time.Duration(*h.HeartbeatTimeoutMs) * time.Millisecond
	}
	if h.AdvertisedAddrs != nil {
		addrs, err := remoting.ParseNamedAddrs(*h.AdvertisedAddrs)
		if err != nil {
			return nil, fmt.Errorf("advertisedAddrs: %w", err)
		}
		reg.advertised = make(map[string]string, len(addrs))
		for _, a := range addrs {
			reg.advertised[a.Name] = a.Addr
		}
	}
	return reg, nil
}

// takeIn puts a registration into the tables; its topics are decoded only when their version is new. It reports false for
// one that is refused.
func (s *Server) takeIn(req *remoting.Request, reg *registration, compressed bool) (master, bool, error) {
	now := s.now()
	old := req.Version < versionV3011
	if version, ok := codec.PeekRegisterBrokerBody(req.Body, compressed); ok && !old {
		if leader, ok := s.routes.refresh(reg, version, now); ok {
			return leader, true, nil
		}
	}
	body := new(codec.RegisterBrokerBody)
	var err error
	switch {
	case len(req.Body) == 0:
	case old:
		err = codec.UnmarshalJSON(req.Body, &body.TopicConfigSerializeWrapper)
	default:
		body, err = codec.DecodeRegisterBrokerBody(req.Body, compressed, req.Version)
	}
	if err != nil {
		s.log.Warn("registration cannot be read", "broker", reg.name, "client", req.Conn.RemoteAddr(), "err", err)
		return master{}, false, &codec.Refusal{Code: codec.SystemError, Remark: "Failed to decode RegisterBrokerBody: " + err.Error()}
	}
	leader, outcome := s.routes.register(reg, body, now)
	if outcome == joined {
		s.log.Info("broker registered", "broker", reg.name, "id", reg.id, "cluster", reg.cluster, "addr", reg.addr,
			"topics", len(body.TopicConfigSerializeWrapper.TopicConfigTable))
	}
	return leader, outcome != refused, nil
}

// isZlib reports whether a body is compressed: Apache's broker 5.4.0 with compressedRegister says that it is not.
func isZlib(b []byte) bool {
	return len(b) > 2 && b[0] == 0x78 && (uint(b[0])<<8|uint(b[1]))%31 == 0
}

func (s *Server) unregister(req *remoting.Request) (*codec.Command, error) {
	var h codec.UnregisterBrokerHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	s.routes.unregister(h.ClusterName, h.BrokerAddr, h.BrokerName)
	s.log.Info("broker unregistered", "broker", h.BrokerName, "id", h.BrokerID, "cluster", h.ClusterName, "addr", h.BrokerAddr)
	return req.Response(codec.Success), nil
}

func (s *Server) dataVersion(req *remoting.Request) (*codec.Command, error) {
	var asked codec.DataVersion
	if err := codec.UnmarshalJSON(req.Body, &asked); err != nil {
		return nil, err
	}
	cluster, _ := req.Field("clusterName")
	addr, _ := req.Field("brokerAddr")
	known, ok := s.routes.touch(string(cluster), string(addr), s.now())
	resp := req.Response(codec.Success)
	resp.Header = &codec.QueryDataVersionResponse{Changed: !ok || known != asked}
	if ok {
		var err error
		if resp.Body, err = codec.MarshalJSON(known); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

func (s *Server) heartbeat(req *remoting.Request) (*codec.Command, error) {
	cluster, _ := req.Field("clusterName")
	addr, _ := req.Field("brokerAddr")
	s.routes.touch(string(cluster), string(addr), s.now())
	return req.Response(codec.Success), nil
}
