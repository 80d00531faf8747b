package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// queue is one queue of a topic on one broker.
type queue struct {
	topic string
	addr  string
	id    int
}

// cluster is where the load goes.
type cluster struct {
	client  *remoting.Client
	servers []string
}

func (l *load) cluster() *cluster {
	opts := remoting.DefaultClientOptions()
	opts.Sign, opts.Dial = l.sign(), l.dial
	return &cluster{remoting.NewClient(opts), strings.FieldsFunc(l.namesrv, func(r rune) bool { return r == ';' || r == ' ' })}
}

// ask calls a name server, the next one when one does not answer.
func (c *cluster) ask(ctx context.Context, code int32, header any) (*codec.Command, error) {
	var last error
	for _, addr := range c.servers {
		resp, err := c.client.Call(ctx, addr, &codec.Command{Code: code, Language: codec.LanguageGo, Header: header})
		if err == nil {
			return resp, nil
		}
		last = err
	}
	if last == nil {
		return nil, fmt.Errorf("no name server is given; use -n")
	}
	return nil, last
}

// makeQueues returns the queues to use: those of the topic that was named, or of new topics on every master.
func (c *cluster) makeQueues(ctx context.Context, l *load, run uint64) ([]queue, error) {
	if l.topic != "" {
		return c.route(ctx, l.topic)
	}
	masters, err := c.masters(ctx)
	if err != nil {
		return nil, err
	}
	topics := make([]*codec.TopicConfig, l.topics)
	for i := range topics {
		t := codec.NewTopicConfig(fmt.Sprintf("apogee-bench-%x-%d", run, i))
		t.ReadQueueNums, t.WriteQueueNums = int32(l.queues), int32(l.queues)
		topics[i] = t
	}
	var all []queue
	for _, addr := range masters {
		if err := c.createAll(ctx, addr, topics); err != nil {
			return nil, err
		}
	}
	for _, t := range topics {
		for _, addr := range masters {
			for q := range l.queues {
				all = append(all, queue{t.TopicName, addr, q})
			}
		}
	}
	return all, nil
}

// topicsAtATime is how many topics a request creates at most.
const topicsAtATime = 256

// createAll makes topics on a broker, one by one where it is too old to take several.
func (c *cluster) createAll(ctx context.Context, addr string, topics []*codec.TopicConfig) error {
	if len(topics) == 1 {
		return c.create(ctx, addr, topics[0])
	}
	for some := range slices.Chunk(topics, topicsAtATime) {
		body, err := codec.MarshalJSON(&codec.CreateTopicListBody{TopicConfigList: some})
		if err != nil {
			return err
		}
		resp, err := c.client.Call(ctx, addr, &codec.Command{Code: codec.UpdateAndCreateTopicList, Language: codec.LanguageGo, Body: body})
		switch {
		case err != nil:
			return fmt.Errorf("create %d topics on %s: %w", len(some), addr, err)
		case resp.Code == codec.RequestCodeNotSupported:
			for _, t := range some {
				if err := c.create(ctx, addr, t); err != nil {
					return err
				}
			}
		case resp.Code != codec.Success:
			return fmt.Errorf("create %d topics on %s: %d %s", len(some), addr, resp.Code, resp.Remark)
		}
	}
	return nil
}

func (c *cluster) create(ctx context.Context, addr string, t *codec.TopicConfig) error {
	h := &codec.CreateTopicHeader{Topic: t.TopicName, DefaultTopic: "TBW102", ReadQueueNums: t.ReadQueueNums, WriteQueueNums: t.WriteQueueNums,
		Perm: t.Perm, TopicFilterType: codec.FilterSingleTag}
	resp, err := c.client.Call(ctx, addr, &codec.Command{Code: codec.UpdateAndCreateTopic, Language: codec.LanguageGo, Header: h})
	if err != nil {
		return fmt.Errorf("create topic %s: %w", t.TopicName, err)
	}
	if resp.Code != codec.Success {
		return fmt.Errorf("create topic %s on %s: %d %s", t.TopicName, addr, resp.Code, resp.Remark)
	}
	return nil
}

// masters returns the addresses of all masters, sorted.
func (c *cluster) masters(ctx context.Context) ([]string, error) {
	resp, err := c.ask(ctx, codec.GetBrokerClusterInfo, nil)
	if err != nil {
		return nil, err
	}
	var info codec.ClusterInfo
	if err := codec.UnmarshalJSON(resp.Body, &info); err != nil {
		return nil, fmt.Errorf("read the list of brokers: %w", err)
	}
	var masters []string
	for _, b := range info.BrokerAddrTable {
		if addr := b.BrokerAddrs[0]; addr != "" {
			masters = append(masters, addr)
		}
	}
	if len(masters) == 0 {
		return nil, fmt.Errorf("no broker is registered at %s", strings.Join(c.servers, ";"))
	}
	slices.Sort(masters)
	return masters, nil
}

// route returns the queues of a topic that exists.
func (c *cluster) route(ctx context.Context, topic string) ([]queue, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := c.ask(ctx, codec.GetRouteInfoByTopic, &codec.GetRouteInfoHeader{Topic: topic, AcceptStandardJSONOnly: true})
	if err != nil {
		return nil, err
	}
	if resp.Code != codec.Success {
		return nil, fmt.Errorf("route of topic %s: %d %s", topic, resp.Code, resp.Remark)
	}
	var route codec.TopicRouteData
	if err := codec.UnmarshalJSON(resp.Body, &route); err != nil {
		return nil, fmt.Errorf("read the route of topic %s: %w", topic, err)
	}
	addrs := map[string]string{}
	for _, b := range route.BrokerDatas {
		addrs[b.BrokerName] = b.BrokerAddrs[0]
	}
	var all []queue
	for _, q := range route.QueueDatas {
		for id := range q.WriteQueueNums {
			if addr := addrs[q.BrokerName]; addr != "" {
				all = append(all, queue{topic, addr, int(id)})
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("topic %s has no master", topic)
	}
	return all, nil
}

// byAddr sorts queues to the brokers that have them.
func byAddr(all []queue) map[string][]queue {
	m := map[string][]queue{}
	for _, q := range all {
		m[q.addr] = append(m[q.addr], q)
	}
	return m
}
