package processor

import (
	"maps"
	"slices"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP 200, GET_ALL_SUBSCRIPTIONGROUP_CONFIG 201, DELETE_SUBSCRIPTIONGROUP 207,
// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST 225, GET_SUBSCRIPTIONGROUP_CONFIG 352, UPDATE_AND_GET_GROUP_FORBIDDEN 353.
//
// Behavior:
// * A group's configuration is replaced as a whole; what the body lacks takes Java's defaults.
// * 352 creates the group like every look-up, when groups may create themselves.
// * 207 answers success for a group that does not exist; offsets go with cleanOffset, and always those of a group of lite
//   topics.
//
// Apache: AdminBrokerProcessor.

// createGroup answers UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
func (p *Processor) createGroup(req *remoting.Request) (*codec.Command, error) {
	if len(req.Body) == 0 {
		return req.Response(codec.Success), nil
	}
	cfg := codec.NewSubscriptionGroupConfig("")
	if err := decodeBody(req, cfg); err != nil {
		return nil, err
	}
	return p.putGroups(req, []*codec.SubscriptionGroupConfig{cfg})
}

// createGroups answers UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
func (p *Processor) createGroups(req *remoting.Request) (*codec.Command, error) {
	var body codec.SubscriptionGroupList
	if err := decodeBody(req, &body); err != nil {
		return nil, err
	}
	return p.putGroups(req, body.GroupConfigList)
}

// putGroups checks groups and puts them into the table, all or none.
func (p *Processor) putGroups(req *remoting.Request, cfgs []*codec.SubscriptionGroupConfig) (*codec.Command, error) {
	for _, cfg := range cfgs {
		if cfg == nil {
			return nil, missing("groupConfig")
		}
		if err := store.ValidateGroup(cfg.GroupName); err != nil {
			return nil, refuse(codec.InvalidParameter, "%v", err)
		}
		if cfg.RetryQueueNums > maxTopicQueues {
			return nil, refuse(codec.InvalidParameter, "%d retry queues for group[%s], at most %d", cfg.RetryQueueNums, cfg.GroupName, maxTopicQueues)
		}
	}
	err := p.groups.PutAll(cfgs)
	if err != nil {
		return nil, tableError(err)
	}
	for _, cfg := range cfgs {
		p.log.Info("group created or changed", "group", cfg.GroupName, "client", req.Conn.RemoteAddr())
	}
	return req.Response(codec.Success), nil
}

// deleteGroup answers DELETE_SUBSCRIPTIONGROUP.
func (p *Processor) deleteGroup(req *remoting.Request) (*codec.Command, error) {
	var h codec.DeleteSubscriptionGroupHeader
	if err := decodeHeader(req, &h, "groupName"); err != nil {
		return nil, err
	}
	if cfg, ok := p.groups.Get(h.GroupName); ok && liteBound(cfg) != "" {
		h.CleanOffset = true
	}
	existed, err := p.groups.Delete(h.GroupName)
	if err != nil {
		return nil, err
	}
	if h.CleanOffset {
		p.popping.state.Forget(func(_, group string) bool { return group == h.GroupName })
		p.offsets.DeleteGroup(h.GroupName)
	}
	p.log.Info("group deleted", "group", h.GroupName, "existed", existed, "offsets_deleted", h.CleanOffset, "client", req.Conn.RemoteAddr())
	return req.Response(codec.Success), nil
}

// groupConfig answers GET_SUBSCRIPTIONGROUP_CONFIG.
func (p *Processor) groupConfig(req *remoting.Request) (*codec.Command, error) {
	name, _ := req.Field("group")
	cfg, ok := p.groups.Find(name)
	if !ok {
		return nil, refuse(codec.SubscriptionGroupNotExist, "No group in this broker")
	}
	return jsonResponse(req, cfg)
}

// allGroups answers GET_ALL_SUBSCRIPTIONGROUP_CONFIG, a page of it to a request that asks for one.
func (p *Processor) allGroups(req *remoting.Request) (*codec.Command, error) {
	var h codec.GetAllSubscriptionGroupHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	table := p.groups.Snapshot()
	total := len(table.SubscriptionGroupTable)
	if asksForPage(req, "dataVersion", "groupSeq", "maxGroupNum") {
		table.SubscriptionGroupTable = page(table.SubscriptionGroupTable, h.DataVersion, table.DataVersion, h.GroupSeq, h.MaxGroupNum)
		forbidden := make(map[string]map[string]int32)
		for group, topics := range table.ForbiddenTable {
			if _, ok := table.SubscriptionGroupTable[group]; ok {
				forbidden[group] = topics
			}
		}
		table.ForbiddenTable = forbidden
	}
	resp, err := jsonResponse(req, table)
	if err == nil {
		resp.Header = &codec.GetAllSubscriptionGroupResponse{TotalGroupNum: int32(total)}
	}
	return resp, err
}

// groupForbidden answers UPDATE_AND_GET_GROUP_FORBIDDEN; without readable it only tells.
func (p *Processor) groupForbidden(req *remoting.Request) (*codec.Command, error) {
	var h codec.UpdateGroupForbiddenHeader
	if err := decodeHeader(req, &h, "group", "topic"); err != nil {
		return nil, err
	}
	bits := p.groups.Forbidden([]byte(h.Group), []byte(h.Topic))
	if h.Readable != nil {
		bits &^= store.ForbiddenRead
		if !*h.Readable {
			bits |= store.ForbiddenRead
		}
		if err := p.groups.SetForbidden(h.Group, h.Topic, bits); err != nil {
			return nil, err
		}
		p.log.Info("group's right to read a topic set", "group", h.Group, "topic", h.Topic, "readable", *h.Readable, "client", req.Conn.RemoteAddr())
	}
	readable := bits&store.ForbiddenRead == 0
	return jsonResponse(req, codec.GroupForbidden{Group: h.Group, Readable: &readable, Topic: h.Topic})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(keys)
	return keys
}
