package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// peersFor is how long what a name server said about brokers is good, peersRetry how soon it is asked again when a name is missing.
const (
	peersFor   = 30 * time.Second
	peersRetry = time.Second
)

// peers finds the addresses of other brokers by their names. Apache: TopicRouteInfoManager, ClientMetadata.
type peers struct {
	namesrvs func() []string
	call     func(ctx context.Context, addr string, c *codec.Command) (*codec.Command, error)

	mu    sync.Mutex // guards what follows; held while a name server is asked
	addrs map[string]string
	asked time.Time
}

// forward sends a request to the master of that name and returns its answer.
func (p *peers) forward(ctx context.Context, broker string, c *codec.Command) (*codec.Command, error) {
	addr, err := p.addr(ctx, broker)
	if err != nil {
		return nil, err
	}
	answer, err := p.call(ctx, addr, c)
	if err != nil {
		p.forget(broker)
		return nil, fmt.Errorf("call %s: %w", addr, err)
	}
	return answer, nil
}

func (p *peers) forget(broker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.addrs, broker)
}

// addr returns the address of a broker's master.
func (p *peers) addr(ctx context.Context, broker string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addr, ok := p.addrs[broker]
	if age := time.Since(p.asked); age > peersFor || !ok && age > peersRetry {
		if err := p.askLocked(ctx, broker); err != nil && !ok {
			return "", err
		}
		addr, ok = p.addrs[broker]
	}
	if !ok {
		return "", fmt.Errorf("no name server knows a master of broker %s", broker)
	}
	return addr, nil
}

// askLocked asks the name servers for all brokers, one after the other until one of them knows want: a broker may be registered at some
// of them only, for instance while one has just started. What the first one says of a broker counts.
func (p *peers) askLocked(ctx context.Context, want string) error {
	err := fmt.Errorf("there is no name server to ask")
	addrs := make(map[string]string)
	answered := false
	all := p.namesrvs()
	for i, namesrv := range all {
		info, askErr := p.ask(ctx, namesrv)
		if askErr != nil {
			err = askErr
			continue
		}
		answered = true
		for name, b := range info.BrokerAddrTable {
			if addr := b.BrokerAddrs[0]; addr != "" && addrs[name] == "" {
				addrs[name] = addr
			}
		}
		if addrs[want] != "" && i < len(all)-1 {
			for name, addr := range p.addrs { // those that were not asked now may know them; forget drops one that does not answer
				if addrs[name] == "" {
					addrs[name] = addr
				}
			}
			break
		}
	}
	if !answered {
		return err
	}
	p.addrs, p.asked = addrs, time.Now()
	return nil
}

func (p *peers) ask(ctx context.Context, namesrv string) (*codec.ClusterInfo, error) {
	answer, err := p.call(ctx, namesrv, &codec.Command{Code: codec.GetBrokerClusterInfo, Language: codec.LanguageJava, Version: codec.Version})
	if err == nil && answer.Code != codec.Success {
		err = &codec.Refusal{Code: answer.Code, Remark: answer.Remark}
	}
	info := new(codec.ClusterInfo)
	if err == nil {
		err = codec.UnmarshalJSON(answer.Body, info)
	}
	if err != nil {
		return nil, fmt.Errorf("ask name server %s for brokers: %w", namesrv, err)
	}
	return info, nil
}
