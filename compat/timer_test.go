package compat

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	codeTimerCheckPoint = 60
	codeTimerMetrics    = 61
	codeRecallMessage   = 370
	resServiceNot       = 14
	resIllegalOperation = 604

	timerTopic    = "rmq_sys_wheel_timer"
	timerTooLong  = "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del msg, the delay time should be bigger than the current time"
	timerDelivery = 60 * time.Second
)

// sendTimed sends a message to queue 0 and returns its recall handle.
func sendTimed(t testing.TB, c *client, topic, body string, properties ...string) (recallHandle string) {
	t.Helper()
	return c.ok(t, codeSendMessage, sendFields(topic, 0, props(properties...)), []byte(body)).Ext["recallHandle"]
}

func atMs(ms int64) string { return strconv.FormatInt(ms, 10) }

// arrived waits until queue 0 of a topic has the bodies, in any order, and returns the records by body.
func arrived(t testing.TB, c *client, topic string, want ...string) map[string]record {
	t.Helper()
	byBody := map[string]record{}
	eventually(t, timerDelivery, func() error {
		all, err := readQueue(c, topic, 0)
		if err != nil {
			return err
		}
		clear(byBody)
		for _, r := range all {
			byBody[string(r.Body)] = r
		}
		if len(all) < len(want) {
			return fmt.Errorf("%s has %v", topic, bodies(all))
		}
		return nil
	})
	require.ElementsMatch(t, want, slices.Collect(maps.Keys(byBody)))
	return byBody
}

func TestTimer(t *testing.T) {
	tg := onOwn(t, WithConf("recallMessageEnable", "true"))

	t.Run("delivered when asked", func(t *testing.T) {
		t.Parallel()
		c := connect(t, tg.Broker())
		topic := newTopic(t, tg, 2)
		before := nowMs()
		handle := sendTimed(t, c, topic, "moment", "TIMER_DELIVER_MS", atMs(before+2345), "UNIQ_KEY", unique("K"), "TAGS", "A")
		require.NotEmpty(t, handle)
		require.NotEmpty(t, sendTimed(t, c, topic, "ms", "TIMER_DELAY_MS", "1500", "TIMER_DELIVER_MS", "1"))
		require.NotEmpty(t, sendTimed(t, c, topic, "seconds", "TIMER_DELAY_SEC", "2", "TIMER_DELAY_MS", "1"))
		require.Empty(t, sendTimed(t, c, topic, "past", "TIMER_DELIVER_MS", atMs(before-5000)))
		require.Empty(t, sendTimed(t, c, topic, "overflow", "TIMER_DELAY_SEC", "9223372036854775807"))
		require.Empty(t, sendTimed(t, c, topic, "negative", "TIMER_DELAY_MS", "-1"))
		got := arrived(t, c, topic, "moment", "ms", "seconds", "past", "overflow", "negative")
		for body, delay := range map[string]int64{"moment": 2345, "ms": 1500, "seconds": 2000} {
			r := got[body]
			require.GreaterOrEqual(t, r.StoreMs, before+delay-1, body)
			out, err := strconv.ParseInt(r.Props["TIMER_OUT_MS"], 10, 64)
			require.NoError(t, err)
			require.Zero(t, out%1000)
			require.Equal(t, topic, r.Props["REAL_TOPIC"])
			require.Equal(t, "0", r.Props["REAL_QID"])
			require.Contains(t, r.Props, "TIMER_ENQUEUE_MS")
			require.Contains(t, r.Props, "TIMER_DEQUEUE_MS")
			require.NotContains(t, r.Props, "TIMER_ROLL_TIMES")
		}
		require.NotContains(t, got["past"].Props, "REAL_TOPIC")
		raw, err := base64.URLEncoding.DecodeString(handle)
		require.NoError(t, err)
		moment := got["moment"].Props
		out, err := strconv.ParseInt(moment["TIMER_OUT_MS"], 10, 64)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("v1 %s %s %d %s", topic, tg.BrokerName, out+1, moment["UNIQ_KEY"]), string(raw))
	})

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		c := connect(t, tg.Broker())
		topic := newTopic(t, tg, 1)
		for _, p := range [][]string{
			{"TIMER_DELIVER_MS", atMs(nowMs() + 4*24*3_600_000)},
			{"TIMER_DELAY_SEC", "259260"},
			{"TIMER_DELAY_MS", "soon"},
			{"TIMER_DELAY_SEC", "1.5"},
			{"TIMER_DELIVER_MS", "99999999999999999999"},
			{"TIMER_DELIVER_MS", "1", "TIMER_DEL_UNIQKEY", "x"},
		} {
			c.refused(t, resMessageIllegal, timerTooLong, codeSendMessage, sendFields(topic, 0, props(p...)), []byte("x"))
		}
		all, err := readQueue(c, topic, 0)
		require.NoError(t, err)
		require.Empty(t, all)
	})

	t.Run("taken back", func(t *testing.T) {
		t.Parallel()
		c := connect(t, tg.Broker())
		topic := newTopic(t, tg, 1)
		deliver := atMs(nowMs() + 6000)
		key := unique("K")
		back := sendTimed(t, c, topic, "back", "TIMER_DELIVER_MS", deliver, "UNIQ_KEY", key)
		sendTimed(t, c, topic, "stays", "TIMER_DELIVER_MS", deliver, "UNIQ_KEY", unique("K"))
		fields := ext("producerGroup", "PG", "topic", topic, "recallHandle", back)
		for range 2 { // the second time changes nothing
			res := c.ok(t, codeRecallMessage, fields, nil)
			require.Equal(t, key, res.Ext["msgId"])
			require.Equal(t, "DefaultRegion", res.Ext["MSG_REGION"])
		}
		sendTimed(t, c, topic, "last", "TIMER_DELIVER_MS", atMs(nowMs()+9000))
		arrived(t, c, topic, "stays", "last")
	})

	t.Run("not taken back", func(t *testing.T) {
		t.Parallel()
		c := connect(t, tg.Broker())
		topic := newTopic(t, tg, 1)
		handle := func(parts ...any) string {
			return base64.URLEncoding.EncodeToString([]byte(strings.TrimSuffix(fmt.Sprintln(parts...), "\n")))
		}
		soon := nowMs() + 60_000
		for _, tt := range []struct {
			code          int
			remark, given string
		}{
			{resIllegalOperation, "recall handle is invalid", "nonsense"},
			{resIllegalOperation, "recall handle is invalid", handle("v2", topic, tg.BrokerName, soon, "K")},
			{resIllegalOperation, "recall handle is invalid", handle("v1", topic, tg.BrokerName, soon)},
			{resIllegalOperation, "recall failed, topic not match", handle("v1", "Other", tg.BrokerName, soon, "K")},
			{resIllegalOperation, "recall failed, broker service not available", handle("v1", topic, "other-broker", soon, "K")},
			{resIllegalOperation, "recall failed, timestamp invalid", handle("v1", topic, tg.BrokerName, nowMs()-1, "K")},
			{resIllegalOperation, "recall failed, timestamp invalid", handle("v1", topic, tg.BrokerName, nowMs()+73*3_600_000, "K")},
			{resIllegalOperation, "recall failed, timestamp invalid", handle("v1", topic, tg.BrokerName, "soon", "K")},
		} {
			c.refused(t, tt.code, tt.remark, codeRecallMessage, ext("topic", topic, "recallHandle", tt.given), nil)
		}
		c.refused(t, resTopicNotExist, "recall failed, the topic[NoSuchTopic] not exist", codeRecallMessage, ext("topic", "NoSuchTopic", "recallHandle", "x"), nil)
		// One that was never sent is like any other.
		c.ok(t, codeRecallMessage, ext("topic", topic, "recallHandle", handle("v1", topic, tg.BrokerName, soon, "K")), nil)
	})

	t.Run("counted", func(t *testing.T) {
		t.Parallel()
		c := connect(t, tg.Broker())
		topic := newTopic(t, tg, 1)
		sendTimed(t, c, topic, "x", "TIMER_DELAY_SEC", "3600")
		eventually(t, timerDelivery, func() error {
			var metrics struct {
				DataVersion map[string]int64
				TimingCount map[string]struct{ Count, TimeStamp int64 }
			}
			if err := unmarshal(c.ok(t, codeTimerMetrics, nil, nil).Body, &metrics); err != nil {
				return err
			}
			if metrics.TimingCount[topic].Count != 1 || metrics.DataVersion["counter"] == 0 {
				return errors.New("not counted")
			}
			return nil
		})
		eventually(t, timerDelivery, func() error {
			check := c.ok(t, codeTimerCheckPoint, nil, nil).Body
			require.Len(t, check, 56)
			if read := int64(binary.BigEndian.Uint64(check)); read < nowMs()-30_000 || binary.BigEndian.Uint64(check[16:]) == 0 {
				return fmt.Errorf("check point %x", check)
			}
			return nil
		})
		info := string(c.ok(t, codeGetBrokerRuntimeInfo, nil, nil).Body)
		for _, key := range []string{"timerReadBehind", "timerOffsetBehind", "timerCongestNum", "timerEnqueueTps", "timerDequeueTps"} {
			require.Contains(t, info, `"`+key+`":"`)
		}
	})
}

// TestTimerFortyDays has a broker that takes messages for up to 40 days. Both kinds of limit count from when the message is stored.
func TestTimerFortyDays(t *testing.T) {
	tg := onOwn(t, WithConf("timerMaxDelaySec", "3456000"), WithConf("recallMessageEnable", "true"))
	c := connect(t, tg.Broker())
	topic := newTopic(t, tg, 1)
	const days = int64(24 * 3_600_000)
	far := sendTimed(t, c, topic, "far", "TIMER_DELIVER_MS", atMs(nowMs()+40*days-60_000), "UNIQ_KEY", unique("K"))
	require.NotEmpty(t, sendTimed(t, c, topic, "seconds", "TIMER_DELAY_SEC", "3455990"))
	for _, p := range [][]string{{"TIMER_DELIVER_MS", atMs(nowMs() + 40*days + 60_000)}, {"TIMER_DELAY_SEC", "3456060"}} {
		c.refused(t, resMessageIllegal, strings.Replace(timerTooLong, "259200000", "3456000000", 1), codeSendMessage,
			sendFields(topic, 0, props(p...)), []byte("x"))
	}
	counted := func(want int64) {
		eventually(t, timerDelivery, func() error {
			var metrics struct {
				TimingCount map[string]struct{ Count int64 }
			}
			if err := unmarshal(c.ok(t, codeTimerMetrics, nil, nil).Body, &metrics); err != nil || metrics.TimingCount[topic].Count != want {
				return fmt.Errorf("%d wait, not %d: %w", metrics.TimingCount[topic].Count, want, err)
			}
			return nil
		})
	}
	counted(2)
	awaitTakenIn(t, tg)
	tg.KillBroker(t)
	tg.StartBroker(t)
	c = connect(t, tg.Broker())
	if tg.Kind == Apogee { // Apache's broker may count some twice
		counted(2)
	}
	c.ok(t, codeRecallMessage, ext("topic", topic, "recallHandle", far), nil)
	sendTimed(t, c, topic, "near", "TIMER_DELAY_MS", "1500")
	arrived(t, c, topic, "near")
}

func TestTimerSwitchedOff(t *testing.T) {
	tg := onOwn(t, WithConf("timerWheelEnable", "false"), WithConf("recallMessageEnable", "false"))
	c := connect(t, tg.Broker())
	topic := newTopic(t, tg, 1)
	c.refused(t, resSystemError, "accurate timer message is not enabled, timerWheelEnable is false", codeSendMessage,
		sendFields(topic, 0, props("TIMER_DELAY_SEC", "2")), []byte("x"))
	c.refused(t, resNoPermission, "recall failed, operation is forbidden", codeRecallMessage, ext("topic", topic, "recallHandle", "x"), nil)
	c.refused(t, resSystemError, "The checkpoint is null", codeTimerCheckPoint, nil, nil)
	c.refused(t, resSystemError, "The timer message store is null", codeTimerMetrics, nil, nil)
}

// TestTimerTakeOver hands a store with messages that wait from our broker to Apache's and back. What either has taken in the
// other delivers, once.
func TestTimerTakeOver(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	if JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	t.Parallel()
	for _, end := range []struct {
		name  string
		with  func(*Target, testing.TB)
		clean bool
	}{{"after a clean stop", (*Target).StopBroker, true}, {"after a kill", (*Target).KillBroker, false}} {
		t.Run(end.name, func(t *testing.T) {
			// A small log file makes several; two hours of slots make what waits longer go through the queue again.
			tg := onOwn(t, WithConf("mappedFileSizeTimerLog", "1040"), WithConf("recallMessageEnable", "true"), WithConf("timerRollWindowSlot", "40"))
			besideApache(t)
			ours := tg.launch
			apache, err := newApacheLauncher()
			require.NoError(t, err)
			topic := newTopic(t, tg, 1)
			want := map[string]bool{}
			for round, next := range []launcher{apache, ours, apache, ours} {
				c := connect(t, tg.Broker())
				for i := range 30 {
					// Some come before the other server is there, some while it starts, some later, some are rolled.
					body := fmt.Sprintf("%d-%02d", round, i)
					sendTimed(t, c, topic, body, "TIMER_DELAY_MS", strconv.Itoa(500+i*1700))
					want[body] = true
				}
				// Not one that is rolled: when its time is over before either server has rolled it and what takes it back, it comes.
				handle := sendTimed(t, c, topic, "never", "TIMER_DELAY_SEC", "35")
				c.ok(t, codeRecallMessage, ext("topic", topic, "recallHandle", handle), nil)
				c.close()
				awaitTakenIn(t, tg)
				end.with(tg, t)
				tg.launch = next
				tg.StartBroker(t)
			}
			c := connect(t, tg.Broker())
			var times map[string]int
			eventually(t, 2*timerDelivery, func() error {
				all, err := readQueue(c, topic, 0)
				if err != nil {
					return err
				}
				times = map[string]int{}
				for _, r := range all {
					times[string(r.Body)]++
				}
				for body := range want {
					if times[body] == 0 {
						return fmt.Errorf("%s has not come", body)
					}
				}
				return nil
			})
			require.NotContains(t, times, "never")
			for body, n := range times {
				if end.clean {
					require.Equal(t, 1, n, body)
				} else if n > 1 { // Apache repeats the second it was killed in
					t.Log(body, "came", n, "times")
				}
			}
		})
	}
}

// awaitTakenIn waits until all of the timer's queue is in the wheel and that is on disk. What is not, Apache's broker takes in again
// after a kill, and delivers at once what is late by then: even what was taken back.
func awaitTakenIn(t testing.TB, tg *Target) {
	t.Helper()
	c := connect(t, tg.Broker())
	defer c.close()
	end := num(t, c.ok(t, codeGetMaxOffset, ext("topic", timerTopic, "queueId", 0), nil), "offset")
	eventually(t, timerDelivery, func() error {
		check, err := os.ReadFile(filepath.Join(tg.StorePath(), "config", "timercheck"))
		if err == nil && (len(check) < 32 || min(binary.BigEndian.Uint64(check[16:]), binary.BigEndian.Uint64(check[24:])) < uint64(end)) {
			err = fmt.Errorf("%x, want %d", check, end)
		}
		return err
	})
}
