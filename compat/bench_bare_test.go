package compat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bareEnv has the test program be a bare server.
const bareEnv = "APOGEE_BENCH_BARE"

// bareHello is what a client of a bare server writes first.
type bareHello struct {
	Kind, Request, Answer uint32 // sizes in bytes
}

const (
	bareEcho    = 1 + iota // each request is answered
	bareBacklog            // each is answered from the pages of a file
	bareSend               // each is answered, and has an answer go to a receiver, too
	bareReceive            // requests are read and forgotten
	bareFlush              // each is written to a file, and answered when it is on disk
)

// Bytes of `apogee bench`'s requests and answers for a message with a body of 1 KiB, within a few percent.
const (
	bareMessage, bareAck = 1420, 200
	barePull, barePulled = 350, 1350
	bareRecord           = 1150 // of a backlog; 250 with a body of 128 bytes
	bareBatch            = 32
)

// bareCell is a kind of traffic of BenchmarkCompare.
type bareCell struct {
	name string
	run  func(addr string, lasts time.Duration) (*bareResult, error)
}

type bareResult struct {
	messages int64
	ms       []float64
}

var bareCells = []bareCell{
	{"send-128B-16x32", bareWindows(16, 32, bareHello{bareEcho, bareMessage - 1024 + 128, bareAck}, 1)},
	{"send-1KiB-16x32", bareWindows(16, 32, bareHello{bareEcho, bareMessage, bareAck}, 1)},
	{"send-1KiB-1x1", bareWindows(1, 1, bareHello{bareEcho, bareMessage, bareAck}, 1)},
	{"send-1KiB-2000x1", bareWindows(2000, 1, bareHello{bareEcho, bareMessage, bareAck}, 1)},
	{"backlog-128B-4", bareWindows(4, 2, bareHello{bareBacklog, barePull, bareBatch * (bareRecord - 1024 + 128)}, bareBatch)},
	{"backlog-1KiB-4", bareWindows(4, 2, bareHello{bareBacklog, barePull, bareBatch * bareRecord}, bareBatch)},
	{"sync-1KiB-64x1", bareWindows(64, 1, bareHello{bareFlush, bareMessage, bareAck}, 1)},
	{"sync-1KiB-1x1", bareWindows(1, 1, bareHello{bareFlush, bareMessage, bareAck}, 1)},
	{"e2e-1KiB-at-5000", bareRelay(5000, 4, 1, 50*time.Microsecond)},
	{"e2e-1KiB-at-20000", bareRelay(20000, 4, 1, 50*time.Microsecond)},
}

// BenchmarkBare puts the traffic of BenchmarkCompare on a server that does nothing with it: what it takes is the kernel's, the
// machine's and this client's share in the numbers of any broker.
func BenchmarkBare(b *testing.B) {
	for _, cell := range bareCells {
		b.Run(cell.name, func(b *testing.B) {
			for b.Loop() {
				cell.measure(b)
			}
		})
	}
}

func (cell *bareCell) measure(b *testing.B) {
	cmd := bareCommand(b.TempDir())
	if cmd == nil {
		b.Skip("the bare server needs epoll")
	}
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	defer func() {
		require.NoError(b, cmd.Process.Kill())
		_ = cmd.Wait() // says that it was killed
	}()
	var addr string
	_, err = fmt.Fscanln(out, &addr)
	require.NoError(b, err)
	_, err = cell.run(addr, benchSeconds()/2)
	require.NoError(b, err)
	before, err := cpuTime(cmd.Process.Pid)
	require.NoError(b, err)
	began := time.Now()
	got, err := cell.run(addr, benchSeconds())
	require.NoError(b, err)
	took := time.Since(began)
	after, err := cpuTime(cmd.Process.Pid)
	require.NoError(b, err)
	require.Positive(b, got.messages)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(got.messages)/took.Seconds(), "msg/s")
	b.ReportMetric(float64((after-before).Nanoseconds())/1e3/float64(got.messages), "cpu-us/msg")
	reportLatencies(b, got.ms)
}

func dialBare(addr string, hello bareHello) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := binary.Write(conn, binary.BigEndian, hello); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn.(*net.TCPConn), nil
}

// bareWindows keeps so many requests under way on so many connections. Each answer stands for so many messages.
func bareWindows(conns, window int, hello bareHello, messages int64) func(string, time.Duration) (*bareResult, error) {
	return func(addr string, lasts time.Duration) (*bareResult, error) {
		results, errs, open := make([]bareResult, conns), make([]error, conns), make([]*net.TCPConn, conns)
		for i := range open {
			conn, err := dialBare(addr, hello)
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			open[i] = conn
		}
		var wg sync.WaitGroup
		until := time.Now().Add(lasts)
		for i, conn := range open {
			wg.Go(func() { errs[i] = bareWindow(conn, until, window, hello, &results[i]) })
		}
		wg.Wait()
		all := new(bareResult)
		for _, r := range results {
			all.messages += r.messages * messages
			all.ms = append(all.ms, r.ms...)
		}
		if window > 1 {
			all.ms = nil // of a full window it is the window divided by the rate
		}
		return all, errors.Join(errs...)
	}
}

func bareWindow(conn *net.TCPConn, until time.Time, window int, hello bareHello, r *bareResult) error {
	out, in := make([]byte, window*int(hello.Request)), make([]byte, 64<<10)
	for due, got := window, 0; ; {
		sent := time.Now()
		if sent.After(until) {
			return nil
		}
		if _, err := conn.Write(out[:due*int(hello.Request)]); err != nil {
			return err
		}
		for due = 0; due == 0; {
			n, err := conn.Read(in)
			if err != nil {
				return err
			}
			got += n
			due, got = got/int(hello.Answer), got%int(hello.Answer)
		}
		r.messages += int64(due)
		if window == 1 {
			r.ms = append(r.ms, float64(time.Since(sent))/1e6)
		}
	}
}

// bareRelay sends at a rate on some connections, each to receivers of its own, and times the arrival of each message, after which its
// receiver asks for the next. A sender writes what is due, and then rests until the next is due or for the pause if that is longer.
// The time of a message begins when it is due, or with a pause longer than the interval when it is written.
func bareRelay(rate, senders, receivers int, pause time.Duration) func(string, time.Duration) (*bareResult, error) {
	return func(addr string, lasts time.Duration) (*bareResult, error) {
		flows, errs := make([]*bareFlow, senders), make([]error, senders)
		for i := range flows {
			flows[i] = &bareFlow{interval: time.Second * time.Duration(senders) / time.Duration(rate), pause: pause}
			defer flows[i].close()
			if err := flows[i].dial(addr, receivers, rate); err != nil {
				return nil, err
			}
		}
		var wg sync.WaitGroup
		start := time.Now().Add(10 * time.Millisecond)
		for i, f := range flows {
			wg.Go(func() {
				errs[i] = f.run(start.Add(f.interval*time.Duration(i)/time.Duration(senders)), start.Add(lasts))
			})
		}
		wg.Wait()
		all := new(bareResult)
		for _, f := range flows {
			for _, r := range f.receivers {
				all.messages += int64(len(r.ms))
				all.ms = append(all.ms, r.ms...)
			}
		}
		return all, errors.Join(errs...)
	}
}

// bareFlow is a sender and its receivers, which get its messages in turn.
type bareFlow struct {
	interval, pause time.Duration
	sender          *net.TCPConn
	receivers       []*bareReceiver
}

type bareReceiver struct {
	conn *net.TCPConn
	from chan time.Time // of the messages under way: when their time began
	ms   []float64
}

func (f *bareFlow) dial(addr string, receivers, mostUnderWay int) (err error) {
	for range receivers {
		r := &bareReceiver{from: make(chan time.Time, mostUnderWay)}
		if r.conn, err = dialBare(addr, bareHello{bareReceive, barePull, barePulled}); err != nil {
			return err
		}
		f.receivers = append(f.receivers, r)
	}
	f.sender, err = dialBare(addr, bareHello{bareSend, bareMessage, bareAck})
	return err
}

func (f *bareFlow) close() {
	if f.sender != nil {
		_ = f.sender.Close()
	}
	for _, r := range f.receivers {
		_ = r.conn.Close()
	}
}

func (f *bareFlow) run(due, until time.Time) error {
	received := make(chan error, len(f.receivers))
	for _, r := range f.receivers {
		go func() { received <- r.receive() }()
	}
	go func() { _, _ = io.Copy(io.Discard, f.sender) }() // what was sent is acknowledged
	message := make([]byte, bareMessage)
	alarm, err := newBareAlarm()
	if err != nil {
		return err
	}
	defer alarm.stop()
	pause := time.Until(due)
	for sent := 0; due.Before(until); {
		if err := alarm.wait(pause); err != nil {
			return err
		}
		n := 0
		for now := time.Now(); !due.After(now); due = due.Add(f.interval) {
			at := due
			if f.pause > f.interval {
				at = now // it gathers on purpose
			}
			f.receivers[sent%len(f.receivers)].from <- at
			sent++
			n++
		}
		if _, err := f.sender.Write(slices.Repeat(message, n)); err != nil {
			return err
		}
		pause = max(time.Until(due), f.pause)
	}
	var errs []error
	for _, r := range f.receivers {
		close(r.from)
		errs = append(errs, <-received)
	}
	return errors.Join(errs...)
}

// receive reads until all that were due have come.
func (r *bareReceiver) receive() error {
	in, ask := make([]byte, barePulled), make([]byte, barePull)
	for from := range r.from {
		if _, err := io.ReadFull(r.conn, in); err != nil {
			return err
		}
		r.ms = append(r.ms, float64(time.Since(from))/1e6)
		if _, err := r.conn.Write(ask); err != nil {
			return err
		}
	}
	return nil
}
