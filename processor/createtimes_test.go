package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestCreateTimes(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.opts.AwaitRegistered = nil })
	b.opts.AwaitRegistered = func() { b.clock.move(100*time.Millisecond + 1) }
	head := fields{"topic": "New", "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4", "perm": "6", "topicFilterType": "SINGLE_TAG",
		"order": "false"}
	require.Equal(t, codec.Success, b.request(codec.UpdateAndCreateTopic, head, "").Code)
	require.Equal(t, codec.Success, b.request(codec.UpdateAndCreateTopic, head, "").Code, "no change")
	require.NotEqual(t, codec.Success, b.request(codec.UpdateAndCreateTopic, head.with(fields{"topic": "a b"}), "").Code)
	require.NotEqual(t, codec.Success, b.request(codec.UpdateAndCreateTopic, head.with(fields{"topic": "TBW102"}), "").Code)
	steps := func(at int) (n [6]int64) { n[at]++; return n }
	slow := steps(2)
	slow[0]++
	require.Equal(t, []CreateTimes{
		{Steps: slow, Sum: 100*time.Millisecond + 1}, {Failed: true, Steps: steps(0)}, {Failed: true, System: true, Steps: steps(0)},
	}, b.TopicCreateTimes())
	require.Empty(t, b.GroupCreateTimes())
	require.Equal(t, codec.Success, b.request(codec.UpdateAndCreateSubscriptionGroup, nil, `{"groupName":"G9"}`).Code)
	require.Equal(t, []CreateTimes{{Steps: steps(0)}}, b.GroupCreateTimes())
}
