package namesrv

import (
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// What mqadmin and the dashboard ask: 100 101 102 219 key-value configuration, 106 901 clusters, 205 327 write permission,
// 206 224 304 311 312 313 lists of topics, 216 217 single topics, 318 319 settings.
//
// Lists are in order here and in a hash map's order in Java. A change of settings is written to the file the settings came
// from; settings of the network take effect at the next start. Apache: DefaultRequestProcessor.

func (s *Server) putKV(req *remoting.Request) (*codec.Command, error) {
	var h codec.PutKVConfigHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if h.Namespace == "" || h.Key == "" {
		return nil, &codec.Refusal{Code: codec.SystemError, Remark: "namespace or key is null"}
	}
	if err := s.kv.put(h.Namespace, h.Key, h.Value); err != nil {
		return nil, err
	}
	s.orderChanged(h.Namespace, h.Key)
	return req.Response(codec.Success), nil
}

func (s *Server) getKV(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetKVConfigHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	value, ok := s.kv.get(h.Namespace, h.Key)
	if !ok {
		return nil, &codec.Refusal{Code: codec.QueryNotFound, Remark: "No config item, Namespace: " + h.Namespace + " Key: " + h.Key}
	}
	resp := req.Response(codec.Success)
	resp.Header = &codec.GetKVConfigResponse{Value: value}
	return resp, nil
}

func (s *Server) deleteKV(req *remoting.Request) (*codec.Command, error) {
	var h codec.DeleteKVConfigHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if err := s.kv.remove(h.Namespace, h.Key); err != nil {
		return nil, err
	}
	s.orderChanged(h.Namespace, h.Key)
	return req.Response(codec.Success), nil
}

// orderChanged lets routes be made anew that hold the entry.
func (s *Server) orderChanged(namespace, key string) {
	if namespace == orderTopicNamespace {
		s.routes.forget(key)
	}
}

func (s *Server) listKV(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetKVListByNamespaceHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	table, ok := s.kv.list(h.Namespace)
	if !ok {
		return nil, &codec.Refusal{Code: codec.QueryNotFound, Remark: "No config item, Namespace: " + h.Namespace}
	}
	return withJSON(req, codec.KVTable{Table: table})
}

func (s *Server) clusterInfo(req *remoting.Request) (*codec.Command, error) {
	return withJSON(req, s.routes.clusterInfo(s.routes.doors.name(req.Listener)))
}

func (s *Server) memberGroup(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetBrokerMemberGroupHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	resp, err := withJSON(req, codec.BrokerMemberGroupBody{BrokerMemberGroup: s.routes.memberGroup(h.ClusterName, h.BrokerName, s.routes.doors.name(req.Listener))})
	if err == nil {
		resp.Remark = "not set any response code" // which Apache forgets to clear
	}
	return resp, err
}

func (s *Server) wipeWritePerm(req *remoting.Request) (*codec.Command, error) {
	var h codec.WipeWritePermOfBrokerHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	count := s.routes.changePerm(h.BrokerName, func(perm int32) int32 { return perm &^ codec.PermWrite })
	s.log.Info("write permission of broker is taken", "broker", h.BrokerName, "topics", count, "client", req.Conn.RemoteAddr())
	resp := req.Response(codec.Success)
	resp.Header = &codec.WipeWritePermOfBrokerResponse{WipeTopicCount: count}
	return resp, nil
}

func (s *Server) addWritePerm(req *remoting.Request) (*codec.Command, error) {
	var h codec.AddWritePermOfBrokerHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	count := s.routes.changePerm(h.BrokerName, func(int32) int32 { return codec.PermRead | codec.PermWrite })
	s.log.Info("write permission of broker is given", "broker", h.BrokerName, "topics", count, "client", req.Conn.RemoteAddr())
	resp := req.Response(codec.Success)
	resp.Header = &codec.AddWritePermOfBrokerResponse{AddTopicCount: count}
	return resp, nil
}

func (s *Server) deleteTopic(req *remoting.Request) (*codec.Command, error) {
	var h codec.DeleteTopicFromNamesrvHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	s.routes.deleteTopic(h.Topic, h.ClusterName)
	s.log.Info("topic is deleted", "topic", h.Topic, "cluster", h.ClusterName, "client", req.Conn.RemoteAddr())
	return req.Response(codec.Success), nil
}

func (s *Server) registerTopic(req *remoting.Request) (*codec.Command, error) {
	var h codec.RegisterTopicHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	if h.Topic == "" {
		return nil, missing(fieldTopic)
	}
	var route codec.TopicRouteData
	if len(req.Body) > 0 {
		if err := codec.UnmarshalJSON(req.Body, &route); err != nil {
			return nil, err
		}
	}
	s.routes.registerTopic(h.Topic, route.QueueDatas)
	return req.Response(codec.Success), nil
}

func (s *Server) allTopics(req *remoting.Request) (*codec.Command, error) {
	if !s.settings.Load().EnableAllTopicList {
		return nil, errDisabled
	}
	return withJSON(req, codec.TopicList{TopicList: s.routes.topicsWhere(func([]codec.QueueData) bool { return true })})
}

func (s *Server) topicsByCluster(req *remoting.Request) (*codec.Command, error) {
	if !s.settings.Load().EnableTopicList {
		return nil, errDisabled
	}
	var h codec.GetTopicsByClusterHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	return withJSON(req, codec.TopicList{TopicList: s.routes.topicsOfCluster(h.Cluster)})
}

func (s *Server) systemTopics(req *remoting.Request) (*codec.Command, error) {
	return withJSON(req, s.routes.systemTopics(s.routes.doors.name(req.Listener)))
}

func (s *Server) unitTopics(req *remoting.Request) (*codec.Command, error) {
	return s.topicsByFlag(req, func(flag int32) bool { return flag&codec.TopicUnit != 0 })
}

func (s *Server) unitSubTopics(req *remoting.Request) (*codec.Command, error) {
	return s.topicsByFlag(req, func(flag int32) bool { return flag&codec.TopicUnitSub != 0 })
}

func (s *Server) unitSubOnlyTopics(req *remoting.Request) (*codec.Command, error) {
	return s.topicsByFlag(req, func(flag int32) bool { return flag&(codec.TopicUnit|codec.TopicUnitSub) == codec.TopicUnitSub })
}

// topicsByFlag answers with the topics whose sysFlag on their first broker matches.
func (s *Server) topicsByFlag(req *remoting.Request, match func(sysFlag int32) bool) (*codec.Command, error) {
	if !s.settings.Load().EnableTopicList {
		return nil, errDisabled
	}
	names := s.routes.topicsWhere(func(queues []codec.QueueData) bool { return match(queues[0].TopicSysFlag) })
	return withJSON(req, codec.TopicList{TopicList: names})
}

var errDisabled = &codec.Refusal{Code: codec.SystemError, Remark: "disable"}

// blackList are the keys that no request may change, whatever configBlackList says.
var blackList = []string{"configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"}

func (s *Server) getConfig(req *remoting.Request) (*codec.Command, error) {
	s.config.Lock()
	text := s.opts.Text()
	s.config.Unlock()
	resp := req.Response(codec.Success)
	resp.Body = []byte(text)
	return resp, nil
}

func (s *Server) updateConfig(req *remoting.Request) (*codec.Command, error) {
	s.config.Lock()
	defer s.config.Unlock()
	next := s.opts.clone()
	forbidden := append(strings.Split(next.ConfigBlackList, ";"), blackList...)
	all := updateKeys()
	taken, others, err := all.Update(&next, req.Body, func(key string) error {
		if slices.Contains(forbidden, key) || netKeys[key].Set != nil && !netKeys[key].Live {
			return codec.ErrBlackList
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, c := range others {
		known, err := next.keep(c)
		switch {
		case err != nil:
			return nil, err
		case known:
			taken = append(taken, c)
		default:
			s.log.Warn("unknown key", "key", c.Key, "client", req.Conn.RemoteAddr())
		}
	}
	for _, c := range taken {
		s.log.Info("setting is changed", "key", c.Key, "value", c.Value, "now", all[c.Key].Live, "client", req.Conn.RemoteAddr())
	}
	if err := next.validate(); err != nil {
		return nil, err
	}
	if err := writeFile(next.ConfigStorePath, []byte(next.fileText())); err != nil {
		return nil, err
	}
	s.opts = next
	s.settings.Store(&next.Settings)
	next.applyLogLevel()
	s.routes.settingsChanged()
	return req.Response(codec.Success), nil
}
