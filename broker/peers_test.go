package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// nameServers answer each for itself which masters they know; one without an entry does not answer.
type nameServers map[string]map[string]string

func (n nameServers) call(_ context.Context, addr string, _ *codec.Command) (*codec.Command, error) {
	known, ok := n[addr]
	if !ok {
		return nil, errors.New("connection refused")
	}
	info := codec.ClusterInfo{BrokerAddrTable: map[string]codec.BrokerData{}}
	for name, addr := range known {
		info.BrokerAddrTable[name] = codec.BrokerData{BrokerName: name, BrokerAddrs: map[int64]string{0: addr}}
	}
	body, err := codec.MarshalJSON(info)
	return &codec.Command{Code: codec.Success, Body: body}, err
}

// A name server that has just started knows some brokers only; the others are asked for those it does not know.
func TestPeersAreLookedForAtEveryNameServer(t *testing.T) {
	t.Parallel()
	servers := nameServers{"n2": {"a": "h:1"}, "n3": {"a": "old:1", "b": "h:2"}}
	p := &peers{namesrvs: func() []string { return []string{"n1", "n2", "n3"} }, call: servers.call}
	for range 2 {
		for name, want := range map[string]string{"a": "h:1", "b": "h:2"} {
			p.asked = time.Time{} // as if what is known were old
			addr, err := p.addr(context.Background(), name)
			require.NoError(t, err)
			require.Equal(t, want, addr)
			require.Equal(t, "h:1", p.addrs["a"])
		}
	}
	require.Len(t, p.addrs, 2, "what a name server said that was not asked again is kept")
	p.asked = time.Time{}
	_, err := p.addr(context.Background(), "c")
	require.ErrorContains(t, err, "no name server knows a master of broker c")

	p.namesrvs = func() []string { return []string{"n1"} }
	p.asked, p.addrs = time.Time{}, nil
	_, err = p.addr(context.Background(), "a")
	require.ErrorContains(t, err, "ask name server n1 for brokers: connection refused")
}
