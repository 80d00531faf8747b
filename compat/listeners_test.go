package compat

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

// TestListeners has a name server with two doors and a broker with an address, a host name, for who comes through the second: the
// broker's first address is of no use there, as it is outside of a container.
func TestListeners(t *testing.T) {
	if needTarget(t) == Apache {
		t.Skip("Apache's servers have one address for all")
	}
	outside, err := pickPorts()
	require.NoError(t, err)
	door, given := loopback(outside.namesrv), fmt.Sprintf("localhost:%d", outside.broker)
	tg := onOwn(t, WithConf("listeners", fmt.Sprintf("outside=127.0.0.1:%d", outside.broker)), WithConf("advertisedAddrs", "outside="+given),
		WithNamesrvConf("listeners", fmt.Sprintf("outside=127.0.0.1:%d", outside.namesrv)))
	topic := newTopic(t, tg, 2)
	for namesrv, broker := range map[string]string{tg.Namesrv(): tg.Broker(), door: given} {
		eventually(t, 30*time.Second, func() error {
			r, err := routeOf(namesrv, topic)
			if err == nil && r.BrokerDatas[0].BrokerAddrs["0"] != broker {
				err = permanent(fmt.Errorf("%s gives %v and not %s", namesrv, r.BrokerDatas, broker))
			}
			return err
		})
		sendAll(t, newProducer(t, tg, producer.WithNameServer(primitive.NamesrvAddr{namesrv})), topic, numbered("through "+namesrv, 4))
		resp, err := callOnce(namesrv, codeGetBrokerClusterInfo, nil, nil)
		require.NoError(t, err)
		require.Contains(t, string(resp.Body), `"`+broker+`"`)
	}
	c := connect(t, tg.Broker())
	eventually(t, 30*time.Second, func() error { // the broker counts what has come into the queues
		sum := int64(0)
		for q := range 2 {
			sum += num(t, c.ok(t, codeGetMaxOffset, ext("topic", topic, "queueId", q), nil), "offset")
		}
		if sum != 8 {
			return fmt.Errorf("%d messages", sum)
		}
		return nil
	})
}
