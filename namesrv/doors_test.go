package namesrv

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestAddressesByListener(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.doors = doors{"", "outside", "lan"}
	both := testRegistration("a", 0, "h:1")
	both.advertised = map[string]string{"outside": "mq.example.com:30911", "lan": "l:1"}
	slave := testRegistration("a", 1, "h:2")
	slave.advertised = map[string]string{"outside": "mq.example.com:30912"}
	r.mustRegister(t, both, tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, slave, tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, testRegistration("b", 0, "h:3"), tableOf(version(1), "T", "U"), now)
	r.lives[brokerAddr{"C", "h:1"}].filterServers = []string{"f:1"}

	check := func(r *routes) {
		for i, want := range []map[string]map[int64]string{
			{"a": {0: "h:1", 1: "h:2"}, "b": {0: "h:3"}},
			{"a": {0: "mq.example.com:30911", 1: "mq.example.com:30912"}, "b": {0: "h:3"}},
			{"a": {0: "l:1", 1: "h:2"}, "b": {0: "h:3"}},
		} {
			listener := r.doors.name(i)
			for range 2 { // made, and kept
				body, ok, err := r.body([]byte("T"), variant{i, dialectStandard}, true)
				require.NoError(t, err)
				require.True(t, ok)
				var route codec.TopicRouteData
				require.NoError(t, codec.UnmarshalJSON(body, &route))
				got := map[string]map[int64]string{}
				for _, b := range route.BrokerDatas {
					got[b.BrokerName] = b.BrokerAddrs
				}
				require.Equal(t, want, got)
				require.Equal(t, map[string][]string{want["a"][0]: {"f:1"}}, route.FilterServerTable)
			}
			for name, b := range r.clusterInfo(listener).BrokerAddrTable {
				require.Equal(t, want[name], b.BrokerAddrs)
			}
			require.Equal(t, want["a"], r.memberGroup("C", "a", listener).BrokerAddrs)
			require.Equal(t, want["a"][0], r.systemTopics(listener).BrokerAddr)
		}
	}
	check(r)
	again := restarted(t, r, now)
	again.doors = r.doors
	check(again)

	// The same topics with another address are looked at.
	moved := *both
	moved.advertised = map[string]string{"outside": "new:1"}
	_, ok := r.refresh(&moved, version(1), now)
	require.False(t, ok)
	r.mustRegister(t, &moved, tableOf(version(1), "T", "U"), now)
	body, _, err := r.body([]byte("T"), variant{1, dialectBare}, true)
	require.NoError(t, err)
	require.Contains(t, string(body), `"new:1"`)
	require.NotContains(t, string(body), "30911")
}

func TestAdvertisedAddressesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	p := dial(t, open(t, options(t)))
	for _, text := range []string{"outside", "outside=h", `outside=h","x:1`} {
		resp := p.call(codec.RegisterBroker, 401, map[string]string{"brokerName": "a", "brokerAddr": "h:1", "clusterName": "C", "haServerAddr": "h:2",
			"brokerId": "0", "advertisedAddrs": text}, nil)
		require.Equal(t, int32(codec.SystemError), resp.Code)
		require.Contains(t, resp.Remark, "advertisedAddrs: ")
	}
}

func TestListenersThatAreNoneStopTheStart(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.Listeners = "outside=70000"
	_, err := Open(opts)
	require.ErrorContains(t, err, `listeners=outside=70000: outside: "127.0.0.1:70000": want a port of 1 to 65535`)
}
