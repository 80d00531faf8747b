package compat

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// steadyLimit bounds every wait for a steady client. Only a failure or a loaded machine takes so long.
const steadyLimit = 3 * time.Minute

// place is where a message lies in its topic.
type place struct {
	queueID     int
	queueOffset int64
}

// delivery is a message that a steady consumer printed.
type delivery struct {
	id   string
	at   place
	when int64 // nanoseconds of the machine's clock; steady orderly consumers print them
}

// steady is a Java client in a process of its own that stays while servers come and go. One goroutine reads its lines and
// waits for its end.
type steady struct {
	stdin io.Closer
	kill  func() // SIGKILL, if it still runs, and waits for its end
	done  chan struct{}

	mu       sync.Mutex
	ready    bool
	finished bool
	acked    map[string]place // by unique id
	got      []delivery
	gotIDs   map[string]bool
	errors   []string
	strange  []string
}

// startSteady starts one of the steady scenarios and waits until it is ready. A client gives up when the name server is late once; on a
// busy machine it may have a second and a third try.
func startSteady(t testing.TB, tg *Target, version, scenario, topic, group string) *steady {
	t.Helper()
	for tries := 2; ; tries-- {
		s, failed := trySteady(t, tg, version, scenario, topic, group)
		if failed == "" {
			return s
		}
		require.Positive(t, tries, "%s ended: %s", scenario, failed)
	}
}

// trySteady returns what a client that ended before it was ready said to that.
func trySteady(t testing.TB, tg *Target, version, scenario, topic, group string) (s *steady, failed string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := javaCommand(ctx, t, tg, version, "--scenario", scenario, "--topic", topic, "--group", group)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	s = &steady{stdin: stdin, done: make(chan struct{}), acked: map[string]place{}, gotIDs: map[string]bool{}}
	require.NoError(t, cmd.Start())
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			s.take(lines.Text())
		}
		_ = cmd.Wait()
	}()
	s.kill = func() {
		cancel()
		<-s.done
	}
	t.Cleanup(s.kill)
	s.await(t, scenario+" is ready or ended", steadyLimit, func() bool {
		select {
		case <-s.done:
			return true
		default:
			return s.ready
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return s, ""
	}
	return nil, "not ready: " + stderr.String()
}

func (s *steady) take(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	word, rest, _ := strings.Cut(line, " ")
	var id string
	var at place
	switch word {
	case "READY":
		s.ready = true
	case "DONE":
		s.finished = true
	case "ERR":
		s.errors = append(s.errors, rest)
	case "ACK", "GOT":
		if _, err := fmt.Sscan(rest, &id, &at.queueID, &at.queueOffset); err != nil {
			s.strange = append(s.strange, line)
			return
		}
		if word == "ACK" {
			s.acked[id] = at
			return
		}
		d := delivery{id: id, at: at}
		_, _ = fmt.Sscan(rest, &id, &at.queueID, &at.queueOffset, new(int), &d.when)
		s.got = append(s.got, d)
		s.gotIDs[id] = true
	default:
		s.strange = append(s.strange, line)
	}
}

// await waits for a condition, which is evaluated under the lock.
func (s *steady) await(t testing.TB, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	eventually(t, limit, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if holds() {
			return nil
		}
		last := ""
		if len(s.errors) > 0 {
			last = s.errors[len(s.errors)-1]
		}
		return fmt.Errorf("not yet: %s (%d acknowledged, %d received, %d errors, the last %q)",
			what, len(s.acked), len(s.got), len(s.errors), last)
	})
}

// awaitMoreAcks waits until so many sends were acknowledged from now on.
func (s *steady) awaitMoreAcks(t testing.TB, n int) {
	t.Helper()
	s.mu.Lock()
	from := len(s.acked)
	s.mu.Unlock()
	s.await(t, fmt.Sprint(n, " more sends acknowledged"), steadyLimit, func() bool { return len(s.acked) >= from+n })
}

// awaitMoreGot waits until so many messages were received from now on.
func (s *steady) awaitMoreGot(t testing.TB, n int) {
	t.Helper()
	s.mu.Lock()
	from := len(s.got)
	s.mu.Unlock()
	s.await(t, fmt.Sprint(n, " more messages received"), steadyLimit, func() bool { return len(s.got) >= from+n })
}

// awaitError waits for a send that fails from now on: the client has noticed.
func (s *steady) awaitError(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	from := len(s.errors)
	s.mu.Unlock()
	s.await(t, "a send that fails", steadyLimit, func() bool { return len(s.errors) > from })
}

// finish ends the client by the end of its input and waits until it is gone.
func (s *steady) finish(t testing.TB) {
	t.Helper()
	require.NoError(t, s.stdin.Close())
	select {
	case <-s.done:
	case <-time.After(steadyLimit):
		require.FailNow(t, "a steady client does not end")
	}
	require.True(t, s.finished, "a steady client ended before its input")
	require.Empty(t, s.strange)
}

// finishAll ends the producer, waits until the consumer has what was acknowledged, ends it too, and compares: each
// acknowledged message was received where its answer said, no message is in the log twice, no place had two messages,
// and no queue has a gap.
func finishAll(t testing.TB, producer, consumer *steady) {
	t.Helper()
	producer.finish(t)
	consumer.await(t, "all that was acknowledged received", steadyLimit, func() bool {
		for id := range producer.acked {
			if !consumer.gotIDs[id] {
				return false
			}
		}
		return true
	})
	consumer.finish(t)

	where := map[string]place{}
	holds := map[place]string{}
	ends := map[int]int64{}
	for _, d := range consumer.got {
		if at, seen := where[d.id]; seen {
			require.Equal(t, at, d.at, "message %s is in the log twice", d.id)
		}
		if id, seen := holds[d.at]; seen {
			require.Equal(t, id, d.id, "two messages at %v", d.at)
		}
		where[d.id], holds[d.at] = d.at, d.id
		ends[d.at.queueID] = max(ends[d.at.queueID], d.at.queueOffset+1)
	}
	for id, at := range producer.acked {
		require.Equal(t, at, where[id], "place of message %s", id)
	}
	total := int64(0)
	for _, n := range ends {
		total += n
	}
	require.Equal(t, total, int64(len(holds)), "places received, against the ends of the queues %v", ends)
}
