package processor

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// waitFields is the header of a pull that brings its subscription along and waits.
func waitFields(more fields) fields { return pullFields("G", "T", fields{"sysFlag": "6"}.with(more)) }

// parks sends a pull that must not be answered at once.
func (b *rig) parks(head fields) {
	b.t.Helper()
	before := b.ParkedPulls()
	require.Nil(b.t, b.request(codec.PullMessage, head, ""))
	require.Equal(b.t, before+1, b.ParkedPulls())
	b.conn.none(b.t)
}

// requireEmpty checks that nothing is left in the table.
func (b *rig) requireEmpty() {
	b.t.Helper()
	require.Zero(b.t, b.ParkedPulls())
	require.Empty(b.t, b.hold.conns.lists)
	for i := range b.hold.shards {
		require.Empty(b.t, b.hold.shards[i].queues)
		require.Empty(b.t, b.hold.shards[i].due)
	}
}

func TestHoldWakesThePullOfTheQueueThatMoved(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.topicOf("U", 4)
	b.parks(waitFields(nil))
	b.parks(waitFields(fields{"queueId": "1"}))
	b.parks(waitFields(fields{"topic": "U"}))
	b.put("T", 1, "", "one")
	got := b.conn.next(t)
	require.Equal(t, codec.Success, got.Code)
	require.Equal(t, "FOUND", got.Remark)
	require.Equal(t, pulled(1, 0, 1), got.Fields)
	require.Equal(t, []string{"one"}, bodiesOf(t, got.Body))
	require.Equal(t, int64(2), b.ParkedPulls())
	b.conn.none(t)
	b.put("U", 0, "", "two")
	require.Equal(t, []string{"two"}, bodiesOf(t, b.conn.next(t).Body))
}

func TestHoldWakesEveryGroup(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	for i := range 200 {
		b.parks(waitFields(fields{"consumerGroup": "G" + strconv.Itoa(i)}))
	}
	b.put("T", 0, "", "one")
	for range 200 {
		require.Equal(t, []string{"one"}, bodiesOf(t, b.conn.next(t).Body))
	}
	b.requireEmpty()
}

func TestHoldAnswersWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.put("T", 0, "", "seen")
	b.parks(waitFields(fields{"queueOffset": "1", "suspendTimeoutMillis": "15000"}))
	b.parks(waitFields(fields{"queueOffset": "1", "suspendTimeoutMillis": "20000"}))
	b.TickHold(b.clock.move(14999 * time.Millisecond))
	b.conn.none(t)
	b.TickHold(b.clock.move(time.Millisecond))
	got := b.conn.next(t)
	require.Equal(t, &answer{Code: codec.PullNotFound, Remark: "OFFSET_OVERFLOW_ONE", Fields: pulled(1, 0, 1)}, got)
	require.Equal(t, int64(1), b.ParkedPulls())
	b.TickHold(b.clock.move(5 * time.Second))
	require.Equal(t, codec.PullNotFound, b.conn.next(t).Code)
	b.requireEmpty()
}

func TestHoldWithoutLongPolling(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.set(func(s *Settings) { s.LongPolling = false })
	b.parks(waitFields(nil))
	b.TickHold(b.clock.move(999 * time.Millisecond))
	b.conn.none(t)
	b.TickHold(b.clock.move(time.Millisecond))
	require.Equal(t, codec.PullNotFound, b.conn.next(t).Code)
}

func TestHoldBoundsTheTimeAsked(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.parks(waitFields(fields{"suspendTimeoutMillis": "9223372036854775807"}))
	b.parks(waitFields(fields{"suspendTimeoutMillis": "-5"}))
	b.TickHold(b.clock.Now())
	b.conn.next(t)
	b.TickHold(b.clock.move(maxSuspend))
	b.conn.next(t)
	b.requireEmpty()
}

func TestHoldLeavesOtherTagsParked(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.parks(waitFields(fields{"subscription": "A"}))
	for range 3 {
		b.put("T", 0, "B", "other")
	}
	b.conn.none(t)
	require.Equal(t, int64(1), b.ParkedPulls())
	b.put("T", 0, "A", "mine")
	got := b.conn.next(t)
	require.Equal(t, []string{"mine"}, bodiesOf(t, got.Body))
	require.Equal(t, pulled(4, 0, 4), got.Fields)
}

// TestHoldTellsOfSkippedMessages: a client whose tags do not come learns after 5 s how far the queue has gone.
func TestHoldTellsOfSkippedMessages(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.parks(waitFields(fields{"subscription": "A"}))
	b.clock.move(time.Second)
	for range 3 {
		b.put("T", 0, "B", "other")
	}
	b.TickHold(b.clock.move(4999 * time.Millisecond))
	b.conn.none(t)
	b.TickHold(b.clock.move(time.Millisecond))
	require.Equal(t, &answer{Code: codec.PullRetryImmediately, Remark: "NO_MATCHED_MESSAGE", Fields: pulled(3, 0, 3)}, b.conn.next(t))
	b.requireEmpty()
}

// TestHoldReadsMixedArrivals: an arrival of several tags wakes the pull, which parks again when none of them is its own.
func TestHoldReadsMixedArrivals(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.store.OnArrival = nil })
	b.topicOf("T", 4)
	b.pool.setFull(true)
	b.parks(waitFields(fields{"subscription": "A"}))
	b.put("T", 0, "B", "other")
	b.put("T", 0, "C", "other")
	b.Arrived([]store.Arrival{{Topic: "T", FirstQueueOffset: 0, QueueOffset: 1}}) // tags differ
	require.Zero(t, b.ParkedPulls(), "woken")
	b.pool.setFull(false)
	b.TickHold(b.clock.Now())
	require.Eventually(t, func() bool { return b.ParkedPulls() == 1 }, 10*time.Second, time.Millisecond)
	b.conn.none(t)
	b.put("T", 0, "A", "mine")
	b.Arrived([]store.Arrival{{Topic: "T", FirstQueueOffset: 2, QueueOffset: 2, TagsCode: codec.TagsCode([]byte("A")), SameTags: true}})
	require.Equal(t, []string{"mine"}, bodiesOf(t, b.conn.next(t).Body))
	b.requireEmpty()
}

func TestHoldIgnoresWhatThePullHasSeen(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.put("T", 0, "", "seen")
	b.parks(waitFields(fields{"queueOffset": "1"}))
	b.Arrived([]store.Arrival{{Topic: "T", FirstQueueOffset: 0, QueueOffset: 0, SameTags: true}})
	require.Equal(t, int64(1), b.ParkedPulls())
	b.conn.none(t)
}

func TestHoldDropsPullsOfAClosedConnection(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	for i := range 50 {
		b.parks(waitFields(fields{"queueId": strconv.Itoa(i % 4)}))
	}
	gone, kept := b.conn, newFakeConn("127.0.0.1:2")
	b.conn = kept
	b.parks(waitFields(nil))
	gone.Close(nil)
	b.ConnClosed(gone)
	require.Equal(t, int64(1), b.ParkedPulls())
	gone.none(t)
	b.put("T", 0, "", "one")
	require.Equal(t, codec.Success, kept.next(t).Code)
	b.requireEmpty()
}

func TestHoldDoesNotKeepAPullOfAConnectionThatIsGone(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.conn.Close(nil)
	b.ConnClosed(b.conn)
	require.Nil(t, b.request(codec.PullMessage, waitFields(nil), ""))
	b.pool.wait()
	b.requireEmpty()
}

func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	b := newRig(t, func(s *setup) { s.opts.MaxParkedPulls, s.opts.MaxParkedPullsPerConn = 5, 3 })
	b.topicOf("T", 4)
	for range 3 {
		b.parks(waitFields(nil))
	}
	got := b.request(codec.PullMessage, waitFields(nil), "")
	require.NotNil(t, got, "beyond the connection's bound")
	require.Equal(t, codec.PullNotFound, got.Code)
	b.conn = newFakeConn("127.0.0.1:2")
	for range 2 {
		b.parks(waitFields(nil))
	}
	require.NotNil(t, b.request(codec.PullMessage, waitFields(nil), ""), "beyond the bound")
}

// TestHoldKeepsWhatThePoolHasNoRoomFor: pulls that cannot be run again at once are not lost.
func TestHoldKeepsWhatThePoolHasNoRoomFor(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.parks(waitFields(nil))
	b.pool.setFull(true)
	b.put("T", 0, "", "one")
	b.TickHold(b.clock.Now())
	b.conn.none(t)
	b.pool.setFull(false)
	b.TickHold(b.clock.Now())
	require.Equal(t, []string{"one"}, bodiesOf(t, b.conn.next(t).Body))
}

func TestHoldAnswersAllWhenItDrains(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	for range 10 {
		b.parks(waitFields(nil))
	}
	b.pool.setFull(true)
	b.put("T", 0, "", "one") // woken, but no pool to run on
	b.parks(waitFields(fields{"queueId": "1"}))
	b.Drain()
	codes := map[int32]int{}
	for range 11 {
		codes[b.conn.next(t).Code]++
	}
	require.Equal(t, map[int32]int{codec.Success: 10, codec.PullNotFound: 1}, codes)
	b.requireEmpty()
	require.NotNil(t, b.request(codec.PullMessage, waitFields(fields{"queueId": "1"}), ""), "none is parked any more")
}

func TestHoldRefusesWhatHasBecomeForbidden(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	b.parks(waitFields(nil))
	b.set(func(s *Settings) { s.Permission = codec.PermWrite })
	b.put("T", 0, "", "one")
	got := b.conn.next(t)
	require.Equal(t, codec.NoPermission, got.Code)
	require.Equal(t, fields{"forbiddenType": "1"}, got.Fields)
}

// TestHoldLosesNoWakeup has consumers pull and wait while producers send to the same queues: each consumer must see every
// message, though nothing is sent after the last one that could wake it by chance, and no tick helps.
func TestHoldLosesNoWakeup(t *testing.T) {
	t.Parallel()
	const queues, consumers, messages = 2, 4, 300
	b := newRig(t)
	b.topicOf("T", queues)
	var wg sync.WaitGroup
	for c := range consumers {
		tags := "*"
		if c%2 == 1 {
			tags = "A"
		}
		for q := range queues {
			wg.Go(func() {
				seen, err := consume(b, fmt.Sprint("G", c), tags, q, messages)
				require.NoError(t, err)
				require.Equal(t, messages, seen)
			})
		}
	}
	for q := range queues {
		wg.Go(func() {
			for i := range messages {
				b.putUnseen("T", int32(q), "A", strconv.Itoa(i))
				if i%3 == 0 {
					b.putUnseen("T", int32(q), "B", "other")
				}
			}
		})
	}
	wg.Wait()
}

// consume pulls from a queue until it has seen all messages with tag A, and returns how many that are.
func consume(b *rig, group, tags string, queueID, messages int) (seen int, err error) {
	conn := newFakeConn("127.0.0.1:3")
	for next := "0"; seen < messages; {
		head := waitFields(fields{"consumerGroup": group, "queueId": strconv.Itoa(queueID), "queueOffset": next, "subscription": tags})
		req := &remoting.Request{Conn: conn}
		if err := codec.ParseFrame(frameOf(codec.PullMessage, head, "", 0), &req.Command); err != nil {
			return seen, err
		}
		resp, err := b.pull(req)
		if err != nil {
			return seen, err
		}
		var got *answer
		if resp != nil {
			got = parseAnswer(b.t, resp)
		} else {
			got = conn.next(b.t)
		}
		next = got.Fields["nextBeginOffset"]
		for _, body := range bodiesOf(b.t, got.Body) {
			if body == "other" {
				continue
			}
			if body != strconv.Itoa(seen) {
				return seen, fmt.Errorf("got message %s, want %d", body, seen)
			}
			seen++
		}
	}
	return seen, nil
}

// TestHoldUnderEverythingAtOnce parks, wakes, ticks and closes connections at the same time; every pull is answered once or
// dropped with its connection, and the table is empty at the end.
func TestHoldUnderEverythingAtOnce(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.topicOf("T", 4)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				b.TickHold(b.clock.move(3 * time.Second))
			}
		}
	})
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() {
			for round := range 60 {
				conn := newFakeConn("127.0.0.1:4")
				for q := range 4 {
					head := waitFields(fields{"consumerGroup": fmt.Sprint("G", c), "queueId": strconv.Itoa(q), "queueOffset": "0", "subscription": "A"})
					req := &remoting.Request{Conn: conn}
					require.NoError(t, codec.ParseFrame(frameOf(codec.PullMessage, head, "", 0), &req.Command))
					if resp, err := b.pull(req); err == nil && resp != nil {
						parseAnswer(t, resp)
					}
				}
				if round%10 == 0 {
					b.putUnseen("T", int32(c%4), "B", "x")
				}
				conn.Close(nil)
				b.ConnClosed(conn)
			}
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
	b.TickHold(b.clock.move(maxSuspend))
	b.pool.wait()
	b.TickHold(b.clock.move(maxSuspend))
	b.pool.wait()
	b.requireEmpty()
}
