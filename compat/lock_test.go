package compat

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// locked asks for queues and returns the ids that were given.
func locked(t testing.TB, c *client, group, clientID string, queues ...queue) []int {
	t.Helper()
	ids, err := tryLock(c, group, clientID, queues...)
	require.NoError(t, err)
	return ids
}

func tryLock(c *client, group, clientID string, queues ...queue) ([]int, error) {
	res, err := c.call(codeLockBatch, nil, lockBody(group, clientID, queues...))
	if err != nil {
		return nil, err
	}
	if res.Code != resSuccess {
		return nil, errors.New(res.Remark)
	}
	var answer struct {
		LockOKMQSet []queue `json:"lockOKMQSet"`
	}
	if err := unmarshal(res.Body, &answer); err != nil {
		return nil, err
	}
	ids := []int{}
	for _, q := range answer.LockOKMQSet {
		ids = append(ids, q.QueueID)
	}
	slices.Sort(ids)
	return ids, nil
}

func queues(tg *Target, topic string, n int) []queue {
	var all []queue
	for i := range n {
		all = append(all, queue{tg.BrokerName, i, topic})
	}
	return all
}

func TestLock(t *testing.T) {
	t.Parallel()
	t.Run("a queue has one owner in a group", func(t *testing.T) {
		tg := onShared(t)
		topic, group := newTopic(t, tg, 3), newGroup(t, tg)
		all := queues(tg, topic, 3)
		a, b := connect(t, tg.Broker()), connect(t, tg.Broker())
		require.Equal(t, []int{0, 1}, locked(t, a, group, "a", all[:2]...))
		require.Equal(t, []int{2}, locked(t, b, group, "b", all...))
		require.Equal(t, []int{0, 1}, locked(t, a, group, "a", all...), "renewing keeps what one has")
		require.Equal(t, []int{0, 1, 2}, locked(t, b, newGroup(t, tg), "b", all...), "another group locks for itself")
		b.ok(t, codeUnlockBatch, nil, lockBody(group, "b", all...))
		require.Equal(t, []int{2}, locked(t, b, group, "b", all...), "nobody unlocks what is another's")
		a.ok(t, codeUnlockBatch, nil, lockBody(group, "a", all[0]))
		require.Equal(t, []int{0, 2}, locked(t, b, group, "b", all...))
	})

	t.Run("a lock that is not renewed ends after 60 seconds", func(t *testing.T) {
		if testing.Short() {
			t.Skip("waits a minute")
		}
		tg := onShared(t)
		topic, group := newTopic(t, tg, 1), newGroup(t, tg)
		q := queues(tg, topic, 1)
		a, b := connect(t, tg.Broker()), connect(t, tg.Broker())
		before := time.Now()
		require.Equal(t, []int{0}, locked(t, a, group, "a", q...))
		after := time.Now()
		eventually(t, 75*time.Second, func() error {
			ids, err := tryLock(b, group, "b", q...)
			if err == nil && len(ids) == 0 {
				err = fmt.Errorf("still locked after %v", time.Since(after))
			}
			return err
		})
		require.Greater(t, time.Since(before), 60*time.Second)
		require.Less(t, time.Since(after), 65*time.Second)
	})
}
