package compat

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sendDelayed sends messages of all kinds of delays, one each two milliseconds, until the connection ends, and hands over the bodies of
// those that were acknowledged: a name, how long it is to rest and when it was sent.
func sendDelayed(c *client, topic, name string, acked func(body string)) {
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		<-pace.C
		level := i%4 + 1
		rest, properties := level*1000, []string{"DELAY", fmt.Sprint(level)}
		if i%2 == 1 {
			rest = 400 + i%7*700
			properties = []string{"TIMER_DELAY_MS", fmt.Sprint(rest), "UNIQ_KEY", fmt.Sprint(name, i)}
		}
		body := fmt.Sprintf("%s-%d %d %d", name, i, rest, nowMs())
		res, err := c.call(codeSendMessage, sendFields(topic, i%2, props(properties...)), []byte(body))
		if err != nil {
			return
		}
		if res.Code == resSuccess {
			acked(body)
		}
	}
}

// TestKillWhileDelaying kills the broker three times with messages of delay levels and timer messages that rest and that are being delivered.
// Each that was acknowledged comes, and not before its time. What a level delivered since delayOffset.json was written comes again, and from
// Apache's broker the timer messages of the last second, too; ours delivers each timer message once.
func TestKillWhileDelaying(t *testing.T) {
	tg := onOwn(t, WithConf("messageDelayLevel", "1s 2s 3s 4s"), WithConf("flushDelayOffsetInterval", "1000"),
		WithConf("mappedFileSizeCommitLog", "1048576"))
	topic := newTopic(t, tg, 2)
	const kills = 3
	var mu sync.Mutex
	acked := map[string]bool{}
	for round := range kills {
		mu.Lock()
		want := len(acked) + 1500
		mu.Unlock()
		var senders sync.WaitGroup
		for i := range 3 {
			c := connect(t, tg.Broker())
			senders.Go(func() {
				sendDelayed(c, topic, fmt.Sprintf("r%d-s%d", round, i), func(body string) {
					mu.Lock()
					defer mu.Unlock()
					acked[body] = true
				})
			})
		}
		eventually(t, steadyLimit, func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acked) < want {
				return fmt.Errorf("%d of %d are acknowledged", len(acked), want)
			}
			return nil
		})
		tg.KillBroker(t)
		senders.Wait()
		tg.StartBroker(t)
	}
	c := connect(t, tg.Broker())
	var got []record
	awaitAll := func() {
		eventually(t, steadyLimit, func() error {
			got = got[:0]
			times := map[string]int{}
			for queueID := range 2 {
				list, err := readQueue(c, topic, queueID)
				if err != nil {
					return err
				}
				got = append(got, list...)
				for _, r := range list {
					times[string(r.Body)]++
				}
			}
			for body := range acked {
				if times[body] == 0 {
					return fmt.Errorf("%q has not come", body)
				}
			}
			return nil
		})
	}
	awaitAll()
	// When one has come that rested for longest, what was repeated has come too.
	last := fmt.Sprint("last 4000 ", nowMs())
	put(t, c, topic, 0, last, props("DELAY", "4"))
	acked[last] = true
	awaitAll()
	times := map[string]int{}
	for _, r := range got {
		var name string
		var rest, sent int64
		_, err := fmt.Sscan(string(r.Body), &name, &rest, &sent)
		require.NoError(t, err)
		require.GreaterOrEqual(t, r.StoreMs, sent+rest-1, "%s came early", r.Body)
		times[name]++
		if tg.Kind == Apogee {
			most := 1 + kills
			if r.Props["TIMER_DELAY_MS"] != "" {
				most = 1
			}
			require.LessOrEqual(t, times[name], most, "%s came again", r.Body)
		}
	}
	t.Logf("%d acknowledged, %d came, of them %d once more", len(acked), len(got), len(got)-len(times))
}
