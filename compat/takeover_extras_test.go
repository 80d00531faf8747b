package compat

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTakeOverExtras is TestTakeOver with what is off by default: light message queues, checksums in the properties, and units of
// extended queues with bit maps.
func TestTakeOverExtras(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	if JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	t.Parallel()
	for _, end := range []struct {
		name string
		with func(*Target, testing.TB)
	}{
		{"after a clean stop", (*Target).StopBroker},
		{"after a kill", (*Target).KillBroker},
	} {
		t.Run(end.name, func(t *testing.T) {
			tg := onOwn(t, append(lmqConf(), WithConf("mappedFileSizeCommitLog", "1048576"), WithConf("enabledAppendPropCRC", "true"),
				WithConf("forceVerifyPropCRC", "true"), WithConf("enableConsumeQueueExt", "true"),
				WithConf("mappedFileSizeConsumeQueueExt", "8192"), WithConf("enableCalcFilterBitMap", "true"))...)
			besideApache(t)
			ours := tg.launch
			apache, err := newApacheLauncher()
			require.NoError(t, err)
			s := newExtras(t, tg)
			for round, next := range []launcher{apache, ours, apache, ours} {
				s.write(t, fmt.Sprint("round-", round))
				end.with(tg, t)
				tg.launch = next
				tg.StartBroker(t)
				s.check(t)
			}
		})
	}
}

// extras is what is handed over.
type extras struct {
	tg        *Target
	topic     string
	lmqs      map[string][]string // bodies by queue
	even, odd []string            // bodies with one tag and another
	committed int64
}

func newExtras(t *testing.T, tg *Target) *extras {
	return &extras{tg: tg, topic: newTopic(t, tg, 1), lmqs: map[string][]string{}}
}

const extrasRound = 300

func (s *extras) write(t *testing.T, name string) {
	t.Helper()
	c := connect(t, s.tg.Broker())
	for i := range extrasRound {
		body := fmt.Sprintf("%s-%d", name, i)
		a, b := lmqName("a", i%4), lmqName("b", i%7)
		put(t, c, s.topic, 0, body, lmqProps(a+","+b))
		s.lmqs[a], s.lmqs[b] = append(s.lmqs[a], body), append(s.lmqs[b], body)
	}
	for i := range extrasRound / 3 {
		body := fmt.Sprintf("%s-tagged-%d", name, i)
		put(t, c, s.topic, 0, body, props("TAGS", []string{"even", "odd"}[i%2], "n", strconv.Itoa(i%2)))
		if i%2 == 0 {
			s.even = append(s.even, body)
		} else {
			s.odd = append(s.odd, body)
		}
	}
	s.committed++
	c.ok(t, codeUpdateConsumerOffset, commitFields("%LMQ%g", "%LMQ%a0", 0, s.committed), nil)
	eventually(t, stopTimeout, func() error { return savedLMQ(s.tg, "%LMQ%a0", "%LMQ%g", s.committed) })
	s.checkLMQs(t, c)
}

func (s *extras) check(t *testing.T) {
	t.Helper()
	c := connect(t, s.tg.Broker())
	s.checkLMQs(t, c)
	s.checkFilters(t, c)
	require.Equal(t, s.committed, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields("%LMQ%g", "%LMQ%a0", 0), nil), "offset"))
}

func (s *extras) checkLMQs(t *testing.T, c *client) {
	t.Helper()
	for name, want := range s.lmqs {
		dispatched(t, c, name, 0, int64(len(want)))
		all, err := readQueue(c, name, 0)
		require.NoError(t, err)
		require.Equal(t, want, bodies(all), name)
	}
}

func lmqName(kind string, n int) string { return "%LMQ%" + kind + strconv.Itoa(n) }

// checkFilters pulls by tag, and by an expression on behalf of a group that is there.
func (s *extras) checkFilters(t *testing.T, c *client) {
	t.Helper()
	dispatched(t, c, s.topic, 0, int64(len(s.even)/(extrasRound/6)*(extrasRound+extrasRound/3)))
	require.Equal(t, s.odd, passing(t, c, with(pullFields(unique("G"), s.topic, 0, 0), "subscription", "odd")))
	group, version := unique("G"), nowMs()
	c.ok(t, codeHeartbeat, nil, heartbeat{clientID: unique("id"), consumerGroup: group, subs: []subscription{{
		Topic: s.topic, SubString: "n = 0", SubVersion: version, ExpressionType: "SQL92", TagsSet: []string{}, CodeSet: []int32{}}}}.body())
	require.Equal(t, s.even, passing(t, c, with(pullFields(group, s.topic, 0, 0), "sysFlag", 0, "subVersion", version, "expressionType", "SQL92")))
}

// passing pulls to the end of the queue and returns the bodies of what passes.
func passing(t *testing.T, c *client, fields map[string]string) []string {
	t.Helper()
	var all []string
	for {
		res := c.must(t, codePullMessage, fields, nil)
		switch res.Code {
		case resSuccess:
			all = append(all, bodies(pulled(t, res))...)
		case resPullRetry:
		default:
			require.Equal(t, resPullNotFound, res.Code, res.Remark)
			return all
		}
		fields = with(fields, "queueOffset", num(t, res, "nextBeginOffset"))
	}
}
