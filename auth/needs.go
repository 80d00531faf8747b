package auth

import (
	"bytes"

	"github.com/apogee-mq/apogee/codec"
)

// asker is asked once for each resource that a request touches; an error ends the request. A nil name is the own cluster's.
type asker interface {
	ask(kind Kind, name []byte, actions Actions) error
}

// need is a field of a request that names a resource.
type need struct {
	kind  Kind
	field string
	// split separates several names in the field, 0 is none.
	split byte
	// blankIsNone lets the field be missing or blank. Without it a missing field is not asked for either, but a blank is.
	blankIsNone bool
	// always asks even when the field is missing, which no policy then allows.
	always bool
}

// rule says what rights a request code needs: the same actions for all its resources.
type rule struct {
	actions Actions
	needs   []need
	// cluster asks for the own cluster when no need has been asked for.
	cluster bool
	// body asks for what the body names.
	body func(c *codec.Command, actions Actions, a asker) error
	// change marks what changes something by administration: audited, and for admins only in ACL 1.0 where Java says so.
	change bool
}

const (
	subGet    = ActionSub | ActionGet
	subUpdate = ActionSub | ActionUpdate
)

func topicField(name string) need   { return need{kind: KindTopic, field: name} }
func groupField(name string) need   { return need{kind: KindGroup, field: name} }
func clusterField(name string) need { return need{kind: KindCluster, field: name} }

// rules are Java's: DefaultAuthorizationContextBuilder and the annotations of the request headers in 5.4.0. A code that is not here
// needs no right, only a known user. The codes below "Java asks for no right" are checked here all the same.
var rules = map[int32]*rule{
	codec.GetRouteInfoByTopic: {body: routeNeeds, actions: ActionPub | ActionSub | ActionGet},
	codec.SendMessage:         {body: func(c *codec.Command, _ Actions, a asker) error { return sendNeeds(c, "topic", a) }},
	codec.SendMessageV2:       {body: func(c *codec.Command, _ Actions, a asker) error { return sendNeeds(c, "b", a) }},
	codec.SendBatchMessage:    {body: func(c *codec.Command, _ Actions, a asker) error { return sendNeeds(c, "b", a) }},
	codec.RecallMessage:       {actions: ActionPub, needs: []need{{kind: KindTopic, field: "topic", always: true}}},
	codec.EndTransaction:      {actions: ActionPub, needs: []need{{kind: KindTopic, field: "topic", blankIsNone: true}}},
	codec.ConsumerSendMsgBack: {actions: ActionSub, needs: []need{{kind: KindGroup, field: "group", always: true}}},
	codec.PullMessage:         {actions: ActionSub, body: pullNeeds},
	codec.LitePullMessage:     {actions: ActionSub, body: pullNeeds}, // Java asks for no right
	codec.QueryMessage:        {actions: subGet, needs: []need{{kind: KindTopic, field: "topic", always: true}}},
	codec.HeartBeat:           {actions: ActionSub, body: heartbeatNeeds},
	codec.UnregisterClient:    {actions: ActionSub, needs: []need{{kind: KindGroup, field: "consumerGroup", blankIsNone: true}}},

	codec.GetConsumerListByGroup: {actions: subGet, needs: []need{{kind: KindGroup, field: "consumerGroup", always: true}}},
	codec.QueryConsumerOffset:    {actions: subGet, body: pullNeeds},
	codec.UpdateConsumerOffset:   {actions: subUpdate, body: pullNeeds},
	codec.LockBatchMQ:            {actions: ActionSub, body: lockNeeds},
	codec.UnlockBatchMQ:          {actions: ActionSub, body: lockNeeds},

	codec.PopMessage:                 {actions: ActionSub, needs: groupAndTopic},
	codec.PeekMessage:                {actions: ActionSub, needs: []need{topicField("topic"), groupField("consumerGroup")}},
	codec.AckMessage:                 {actions: ActionSub, body: ackNeeds},
	codec.ChangeMessageInvisibleTime: {actions: ActionSub, body: ackNeeds},
	codec.BatchAckMessage:            {actions: ActionSub, body: batchAckNeeds}, // Java asks for no right
	codec.Notification:               {actions: ActionSub, needs: groupAndTopic},
	codec.PollingInfo:                {actions: ActionGet, needs: groupAndTopic},
	codec.QueryAssignment:            {actions: ActionSub, body: assignmentNeeds}, // Java asks for no right

	// Java 5.5.0 asks for no right for any of these.
	codec.PopLiteMessage:      {actions: ActionSub, needs: groupAndTopic},
	codec.LiteSubscriptionCtl: {actions: ActionSub, body: liteNeeds},
	codec.GetBrokerLiteInfo:   {actions: ActionGet, cluster: true},
	codec.GetParentTopicInfo:  {actions: ActionGet, needs: onlyTopic},
	codec.GetLiteTopicInfo:    {actions: ActionGet, needs: []need{topicField("parentTopic")}},
	codec.GetLiteClientInfo:   {actions: ActionGet, needs: []need{topicField("parentTopic"), groupField("group")}},
	codec.GetLiteGroupInfo:    {actions: ActionGet, needs: []need{groupField("group")}},
	codec.TriggerLiteDispatch: {actions: ActionUpdate, needs: []need{groupField("group")}, change: true},

	codec.SearchOffsetByTimestamp: {actions: ActionGet, needs: onlyTopic},
	codec.GetMaxOffset:            {actions: ActionGet, needs: onlyTopic},
	codec.GetMinOffset:            {actions: ActionGet, needs: onlyTopic},
	codec.GetEarliestMsgStoreTime: {actions: ActionGet, needs: onlyTopic},
	codec.ViewMessageByID:         {actions: ActionGet, needs: onlyTopic},

	codec.UpdateAndCreateTopic:   {actions: ActionCreate, needs: onlyTopic, change: true},
	codec.DeleteTopicInBroker:    {actions: ActionDelete, needs: onlyTopic, change: true},
	codec.GetTopicConfig:         {actions: ActionGet, needs: onlyTopic},
	codec.GetTopicStatsInfo:      {actions: ActionGet, needs: onlyTopic},
	codec.QueryTopicConsumeByWho: {actions: ActionGet, needs: onlyTopic},
	codec.ResumeCheckHalfMessage: {actions: ActionUpdate, needs: onlyTopic, change: true},

	codec.DeleteSubscriptionGroup:    {actions: ActionDelete, needs: []need{groupField("groupName")}, change: true},
	codec.GetSubscriptionGroupConfig: {actions: ActionGet, needs: []need{groupField("group")}},
	codec.UpdateAndGetGroupForbidden: {actions: ActionUpdate, needs: []need{groupField("group"), topicField("topic")}, change: true},
	codec.GetConsumerConnectionList:  {actions: ActionGet, needs: []need{groupField("consumerGroup")}},
	codec.GetConsumerRunningInfo:     {actions: ActionGet, needs: []need{groupField("consumerGroup")}},
	codec.QueryTopicsByConsumer:      {actions: ActionGet, needs: []need{groupField("group")}},
	codec.QuerySubscriptionByConsumer: {actions: ActionGet,
		needs: []need{groupField("group"), topicField("topic")}},
	codec.GetConsumeStats: {actions: ActionGet,
		needs: []need{groupField("consumerGroup"), topicField("topic"), {kind: KindTopic, field: "topicList", split: ';'}}},
	codec.InvokeBrokerToResetOffset: {actions: ActionUpdate, needs: []need{groupField("group"), topicField("topic")}, change: true},
	codec.InvokeBrokerToGetConsumerStatus: {actions: ActionGet,
		needs: []need{topicField("topic"), groupField("group")}},
	codec.QueryConsumeTimeSpan: {actions: ActionGet, needs: []need{topicField("topic"), groupField("group")}},
	codec.QueryCorrectionOffset: {actions: ActionGet,
		needs: []need{{kind: KindGroup, field: "filterGroups", split: ','}, groupField("compareGroup"), topicField("topic")}},
	codec.ConsumeMessageDirectly: {actions: ActionSub, needs: groupAndTopic, change: true},
	codec.CloneGroupOffset:       {actions: ActionUpdate, needs: []need{groupField("destGroup"), topicField("topic")}, change: true},
	codec.QueryConsumeQueue:      {actions: ActionGet, needs: []need{topicField("topic"), groupField("consumerGroup")}},

	codec.GetProducerConnectionList: {actions: ActionGet, cluster: true},
	codec.GetAllProducerInfo:        {actions: ActionGet, cluster: true},
	codec.ViewBrokerStatsData:       {actions: ActionGet, cluster: true},
	codec.GetBrokerConsumeStats:     {actions: ActionGet, cluster: true},

	codec.PutKVConfig:            {actions: ActionUpdate, cluster: true, change: true},
	codec.GetKVConfig:            {actions: ActionGet, cluster: true},
	codec.DeleteKVConfig:         {actions: ActionUpdate, cluster: true, change: true},
	codec.GetKVListByNamespace:   {actions: ActionGet, cluster: true},
	codec.RegisterBroker:         {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.UnregisterBroker:       {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.QueryDataVersion:       {actions: ActionGet, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.BrokerHeartbeat:        {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.GetBrokerMemberGroup:   {actions: ActionGet, needs: []need{clusterField("clusterName")}},
	codec.WipeWritePermOfBroker:  {actions: ActionUpdate, cluster: true, change: true},
	codec.AddWritePermOfBroker:   {actions: ActionUpdate, cluster: true, change: true},
	codec.DeleteTopicInNamesrv:   {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}, change: true},
	codec.RegisterTopicInNamesrv: {actions: ActionUpdate, cluster: true, change: true},

	codec.AuthCreateUser: {actions: ActionUpdate, cluster: true, change: true},
	codec.AuthUpdateUser: {actions: ActionUpdate, cluster: true, change: true},
	codec.AuthDeleteUser: {actions: ActionUpdate, cluster: true, change: true},
	codec.AuthGetUser:    {actions: ActionGet, cluster: true},
	codec.AuthListUser:   {actions: ActionGet, cluster: true},
	codec.AuthCreateACL:  {actions: ActionUpdate, cluster: true, change: true},
	codec.AuthUpdateACL:  {actions: ActionUpdate, cluster: true, change: true},
	codec.AuthDeleteACL:  {actions: ActionUpdate, cluster: true, change: true},
	codec.AuthGetACL:     {actions: ActionGet, cluster: true},
	codec.AuthListACL:    {actions: ActionGet, cluster: true},

	codec.AddBroker:                   {actions: ActionUpdate, cluster: true, change: true},
	codec.RemoveBroker:                {actions: ActionUpdate, cluster: true, needs: []need{clusterField("brokerClusterName")}, change: true},
	codec.NotifyMinBrokerIDChange:     {actions: ActionUpdate, cluster: true},
	codec.ExchangeBrokerHAInfo:        {actions: ActionUpdate, cluster: true},
	codec.ResetMasterFlushOffset:      {actions: ActionUpdate, cluster: true, change: true},
	codec.NotifyBrokerRoleChanged:     {actions: ActionUpdate, cluster: true},
	codec.ControllerAlterSyncStateSet: {actions: ActionUpdate, cluster: true},
	codec.ControllerElectMaster:       {actions: ActionUpdate, needs: []need{{kind: KindCluster, field: "clusterName", always: true}}, change: true},
	codec.ControllerRegisterBroker:    {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.ControllerGetReplicaInfo:    {actions: ActionGet, cluster: true},
	codec.CleanBrokerData:             {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}, change: true},
	codec.ControllerGetNextBrokerID:   {actions: ActionGet, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.ControllerApplyBrokerID:     {actions: ActionUpdate, cluster: true, needs: []need{clusterField("clusterName")}},
	codec.CheckRocksDBCQWriteProgress: {actions: ActionGet, needs: onlyTopic},
	codec.ExportRocksDBConfigToJSON:   {actions: ActionGet, cluster: true},

	// Java asks for no right for any of these, though they change something.
	codec.UpdateAndCreateTopicList:             {actions: ActionCreate, body: topicListNeeds, change: true},
	codec.UpdateAndCreateStaticTopic:           {actions: ActionCreate, needs: onlyTopic, change: true},
	codec.UpdateAndCreateSubscriptionGroup:     {actions: ActionCreate | ActionUpdate, body: groupNeeds, change: true},
	codec.UpdateAndCreateSubscriptionGroupList: {actions: ActionCreate | ActionUpdate, body: groupListNeeds, change: true},
	codec.SetMessageRequestMode:                {actions: ActionUpdate, body: requestModeNeeds, change: true},
	codec.UpdateBrokerConfig:                   {actions: ActionUpdate, cluster: true, change: true},
	codec.UpdateNamesrvConfig:                  {actions: ActionUpdate, cluster: true, change: true},
	codec.CleanExpiredConsumeQueue:             {actions: ActionUpdate, cluster: true, change: true},
	codec.CleanUnusedTopic:                     {actions: ActionUpdate, cluster: true, change: true},
	codec.DeleteExpiredCommitLog:               {actions: ActionUpdate, cluster: true, change: true},
	codec.UpdateColdDataFlowCtrConfig:          {actions: ActionUpdate, cluster: true, change: true},
	codec.RemoveColdDataFlowCtrConfig:          {actions: ActionUpdate, cluster: true, change: true},
	codec.SetCommitLogReadMode:                 {actions: ActionUpdate, cluster: true, change: true},
	codec.UpdateControllerConfig:               {actions: ActionUpdate, cluster: true, change: true},
	codec.SwitchTimerEngine:                    {actions: ActionUpdate, cluster: true, change: true},
}

var (
	onlyTopic     = []need{topicField("topic")}
	groupAndTopic = []need{groupField("consumerGroup"), topicField("topic")}
)

// walk asks for everything that a request needs.
func (r *rule) walk(c *codec.Command, a asker) error {
	if r.body != nil {
		return r.body(c, r.actions, a)
	}
	asked := false
	for i := range r.needs {
		n := &r.needs[i]
		value, ok := c.Field(n.field)
		if !ok && !n.always || n.blankIsNone && len(bytes.TrimSpace(value)) == 0 {
			continue
		}
		asked = true
		if err := n.walk(value, r.actions, a); err != nil {
			return err
		}
	}
	if r.cluster && !asked {
		return a.ask(KindCluster, nil, r.actions)
	}
	return nil
}

func (n *need) walk(value []byte, actions Actions, a asker) error {
	for more := true; more; {
		name := value
		if more = false; n.split != 0 {
			name, value, more = bytes.Cut(value, []byte{n.split})
			if len(name) == 0 {
				continue
			}
		}
		if name == nil {
			name = []byte{}
		}
		var err error
		switch plain := n.always || n.blankIsNone; {
		case plain && n.kind == KindGroup:
			err = a.ask(KindGroup, groupOf(name), actions)
		case plain:
			err = a.ask(n.kind, name, actions)
		default:
			err = askTopicOrGroup(n.kind, name, actions, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// askTopicOrGroup asks for the group of a retry topic in place of the topic.
func askTopicOrGroup(kind Kind, name []byte, actions Actions, a asker) error {
	if kind == KindTopic && isRetry(name) {
		kind, name = KindGroup, groupOf(name)
	}
	return a.ask(kind, name, actions)
}
