package namesrv

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// table lists every request code this server answers; any other gets 3. ADD_BROKER and REMOVE_BROKER (902, 903) are for
// broker containers, and Apache's name server does not know them either.
func (s *Server) table() *remoting.Table {
	entries := []remoting.Entry{
		{Code: codec.GetRouteInfoByTopic, Pool: remoting.PoolClient, Inline: true, Handler: s.route},

		{Code: codec.RegisterBroker, Pool: remoting.PoolSend, Handler: s.register},
		{Code: codec.UnregisterBroker, Pool: remoting.PoolSend, Handler: s.unregister},
		{Code: codec.QueryDataVersion, Pool: remoting.PoolSend, Inline: true, Handler: s.dataVersion},
		{Code: codec.BrokerHeartbeat, Pool: remoting.PoolSend, Inline: true, Handler: s.heartbeat},

		{Code: codec.PutKVConfig, Pool: remoting.PoolAdmin, Handler: s.putKV},
		{Code: codec.GetKVConfig, Pool: remoting.PoolAdmin, Handler: s.getKV},
		{Code: codec.DeleteKVConfig, Pool: remoting.PoolAdmin, Handler: s.deleteKV},
		{Code: codec.GetKVListByNamespace, Pool: remoting.PoolAdmin, Handler: s.listKV},
		{Code: codec.GetBrokerClusterInfo, Pool: remoting.PoolAdmin, Handler: s.clusterInfo},
		{Code: codec.GetBrokerMemberGroup, Pool: remoting.PoolAdmin, Handler: s.memberGroup},
		{Code: codec.WipeWritePermOfBroker, Pool: remoting.PoolAdmin, Handler: s.wipeWritePerm},
		{Code: codec.AddWritePermOfBroker, Pool: remoting.PoolAdmin, Handler: s.addWritePerm},
		{Code: codec.GetAllTopicListFromNameServer, Pool: remoting.PoolAdmin, Handler: s.allTopics},
		{Code: codec.DeleteTopicInNamesrv, Pool: remoting.PoolAdmin, Handler: s.deleteTopic},
		{Code: codec.RegisterTopicInNamesrv, Pool: remoting.PoolAdmin, Handler: s.registerTopic},
		{Code: codec.GetTopicsByCluster, Pool: remoting.PoolAdmin, Handler: s.topicsByCluster},
		{Code: codec.GetSystemTopicListFromNS, Pool: remoting.PoolAdmin, Handler: s.systemTopics},
		{Code: codec.GetUnitTopicList, Pool: remoting.PoolAdmin, Handler: s.unitTopics},
		{Code: codec.GetHasUnitSubTopicList, Pool: remoting.PoolAdmin, Handler: s.unitSubTopics},
		{Code: codec.GetHasUnitSubUnunitTopicList, Pool: remoting.PoolAdmin, Handler: s.unitSubOnlyTopics},
		{Code: codec.UpdateNamesrvConfig, Pool: remoting.PoolAdmin, Handler: s.updateConfig},
		{Code: codec.GetNamesrvConfig, Pool: remoting.PoolAdmin, Handler: s.getConfig},
	}
	if s.guard.KeepsUsers() {
		entries = append(entries, s.guard.Entries()...)
	}
	return remoting.NewTable(s.guard.Audit(entries))
}
