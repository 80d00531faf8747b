package processor

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// Heartbeats of new groups that come while the topics of one are being registered share what comes next.
func TestNewGroupsShareARegistration(t *testing.T) {
	t.Parallel()
	registering, goOn := make(chan bool, 1), make(chan bool)
	var registrations atomic.Int64
	b := newRig(t)
	b.opts.AwaitRegistered = func() {
		if registrations.Add(1) == 1 {
			registering <- true
			<-goOn
		}
	}
	first := make(chan *answer)
	go func() { first <- b.heartbeat(b.conn, "c", "G", "T", "*") }()
	<-registering

	const groups = 200
	conns := make([]*fakeConn, groups)
	for i := range conns {
		conns[i] = newFakeConn(fmt.Sprintf("127.0.0.1:%d", 20_000+i))
		require.Nil(t, b.heartbeat(conns[i], fmt.Sprint("c", i), fmt.Sprint("G", i), "T", "*"), "it waits")
	}
	require.Nil(t, b.heartbeatOf(conns[0], "c", codec.Version, consumerText("Bad", "T", "*", b.clock.Now()), `{"groupName":""}`))
	known := newFakeConn("127.0.0.1:30000")
	require.NotNil(t, b.heartbeat(known, "c3", "G", "T", "*"), "whose topic is there does not wait")
	close(goOn)
	require.Equal(t, codec.Success, (<-first).Code)
	b.pool.wait()
	for i, conn := range conns {
		group := fmt.Sprint("G", i)
		require.Equal(t, &answer{Fields: fields{"IS_SUPPORT_HEART_BEAT_V2": "true", "IS_SUB_CHANGE": "true"}}, answered(t, conn))
		require.NotNil(t, b.clients.ConsumerGroup([]byte(group)), group)
		_, ok := b.topics.Get(store.RetryTopic(group))
		require.True(t, ok, group)
	}
	require.Equal(t, codec.SystemError, answered(t, conns[0]).Code, "a producer group without a name")
	require.Equal(t, int64(2), registrations.Load())

	b.heartbeat(b.conn, "c", "Last", "T", "*")
	require.Equal(t, int64(3), registrations.Load(), "nobody creates any more: the next one does it itself")
}

// answered is the first answer on a connection; pushes do not count.
func answered(t *testing.T, conn *fakeConn) *answer {
	t.Helper()
	for {
		if got := conn.next(t); got.Code != codec.NotifyConsumerIDsChanged {
			return got
		}
	}
}

func TestNewGroupsWithoutRoomInThePool(t *testing.T) {
	t.Parallel()
	registering, goOn := make(chan bool, 1), make(chan bool)
	var registrations atomic.Int64
	b := newRig(t)
	b.opts.AwaitRegistered = func() {
		if registrations.Add(1) == 1 {
			registering <- true
			<-goOn
		}
	}
	b.pool.setFull(true)
	first := make(chan *answer)
	go func() { first <- b.heartbeat(b.conn, "c", "G", "T", "*") }()
	<-registering
	other := newFakeConn("127.0.0.1:20000")
	require.Nil(t, b.heartbeat(other, "c2", "G2", "T", "*"))
	close(goOn)
	require.Equal(t, codec.Success, (<-first).Code)
	require.Equal(t, codec.Success, answered(t, other).Code)
}
