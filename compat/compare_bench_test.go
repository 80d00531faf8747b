package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkCompare runs `apogee bench` against our server and Apache's, in turn, and writes the medians of all rounds as a table,
// plots and JSON into APOGEE_COMPARE_DIR. APOGEE_BENCH_ROUNDS (3) and APOGEE_BENCH_SECONDS (5) are its length: about 18 minutes a
// round; APOGEE_BENCH_GROUPS, a regular expression, picks groups by name, and with APOGEE_BENCH_ADD the rounds are added to those that the
// directory has. Each round starts both servers afresh on empty stores,
// Apache's first in every second one; the server is held to core 0, the load to the others, and is warmed up by both kinds of work
// first, so that the JVM has compiled what it will compile; before each cell all memory is full, see fillMemory. A round in which an
// acknowledged message is missing fails.
func BenchmarkCompare(b *testing.B) {
	dir := os.Getenv("APOGEE_COMPARE_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	require.NoError(b, JavaMissing(), "Apache's server needs java and mvn")
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("APOGEE_BENCH_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	only, err := regexp.Compile(os.Getenv("APOGEE_BENCH_GROUPS"))
	require.NoError(b, err)
	all := newComparison()
	if os.Getenv("APOGEE_BENCH_ADD") != "" {
		require.NoError(b, all.load(dir))
	}
	for round := range rounds {
		for _, group := range compareGroups {
			if !only.MatchString(group.name) {
				continue
			}
			kinds := []Kind{Apogee, Apache}
			if round%2 == 1 {
				slices.Reverse(kinds)
			}
			if group.turns {
				first := len(all.seen[group.cells[0].name+"\tmessages/s"][Apogee]) % len(group.cells)
				group.cells = slices.Concat(group.cells[first:], group.cells[:first])
			}
			for _, kind := range kinds {
				if group.ours && kind == Apache {
					continue
				}
				group.measure(b, kind, all)
				b.Logf("round %d: %s of %s done", round+1, group.name, kind)
				require.NoError(b, all.write(dir)) // what there is stays if a later round fails
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

// compareGroup is what is measured on one start of a server.
type compareGroup struct {
	name   string
	conf   map[string]string
	free   bool // the server may use all cores
	ours   bool // Apache's server cannot: see there
	turns  bool // cells are held against each other, so each round begins with the next one: later ones meet a fuller page cache
	cells  []compareCell
	before func(c *comparison, b *testing.B, kind Kind, tg *Target) // may be nil
}

// compareCell is one run of `apogee bench`.
type compareCell struct {
	name string
	args []string
}

// halfRate stands for half of the messages a second that full windows had.
const halfRate = "half"

var compareGroups = []compareGroup{
	{name: "ASYNC_FLUSH", conf: map[string]string{"flushDiskType": "ASYNC_FLUSH"}, before: (*comparison).idle, cells: []compareCell{
		{"send 128 B, 16 connections x 32", []string{"produce", "--size", "128"}},
		{"send 1 KiB, 16 connections x 32", []string{"produce"}},
		{"send 1 KiB, 1 connection x 1", []string{"produce", "--connections", "1", "--window", "1"}},
		{"send 1 KiB, 2,000 connections x 1", []string{"produce", "--connections", "2000", "--window", "1"}},
		{"batches of 32, 128 B, 4 connections x 4", []string{"produce", "--size", "128", "--batch", "32", "--connections", "4", "--window", "4"}},
		{"batches of 32, 1 KiB, 4 connections x 4", []string{"produce", "--batch", "32", "--connections", "4", "--window", "4"}},
		{"backlog 128 B, 4 connections", []string{"consume", "--size", "128", "--connections", "4"}},
		{"backlog 1 KiB, 4 connections", []string{"consume", "--connections", "4"}},
		{"end to end at 5,000/s, 1 KiB", []string{"e2e", "--rate", "5000", "--connections", "4"}},
		{"end to end at 20,000/s, 1 KiB", []string{"e2e", "--rate", "20000", "--connections", "4"}},
		{"end to end at half of what it can send, 1 KiB", []string{"e2e", "--rate", halfRate, "--connections", "4"}},
	}},
	// The files of new queues are made in the warm-up.
	{name: "topics", turns: true, conf: map[string]string{"flushDiskType": "ASYNC_FLUSH"}, cells: []compareCell{
		{"1 topic x 8 queues", []string{"produce", "--topics", "1", "--warmup", "8s"}},
		{"64 topics x 8 queues", []string{"produce", "--topics", "64", "--warmup", "8s"}},
		{"256 topics x 8 queues", []string{"produce", "--topics", "256", "--warmup", "8s"}},
		{"1,024 topics x 8 queues", []string{"produce", "--topics", "1024", "--warmup", "8s"}},
	}},
	// Apache's server maps the files of all its queues: 80,000 are more than the 65,530 mappings of a process, and it ends.
	{name: "10,000 topics", conf: map[string]string{"flushDiskType": "ASYNC_FLUSH"}, ours: true, cells: []compareCell{
		{"10,000 topics x 8 queues", []string{"produce", "--topics", "10000", "--warmup", "20s"}},
	}},
	{name: "all cores", conf: map[string]string{"flushDiskType": "ASYNC_FLUSH"}, free: true, cells: []compareCell{
		{"all cores: send 1 KiB, 16 connections x 32", []string{"produce"}},
		{"all cores: backlog 1 KiB, 4 connections", []string{"consume", "--connections", "4"}},
	}},
	{name: "SYNC_FLUSH", conf: map[string]string{"flushDiskType": "SYNC_FLUSH"}, before: func(c *comparison, b *testing.B, kind Kind, tg *Target) {
		c.device(b, tg.Dir)
	}, cells: []compareCell{
		{"SYNC_FLUSH 1 KiB, 64 connections x 32", []string{"produce", "--connections", "64"}},
		{"SYNC_FLUSH 1 KiB, 64 connections x 1", []string{"produce", "--connections", "64", "--window", "1"}},
		{"SYNC_FLUSH 1 KiB, 1 connection x 1", []string{"produce", "--connections", "1", "--window", "1"}},
	}},
}

// measure starts a server of one kind and runs the group's cells on it.
func (g compareGroup) measure(b *testing.B, kind Kind, all *comparison) {
	opts := []Option{ForSpeed()}
	for _, key := range slices.Sorted(maps.Keys(g.conf)) {
		opts = append(opts, WithConf(key, g.conf[key]))
	}
	if g.free {
		opts = append(opts, func(t *Target) { t.pinned = nil })
	}
	if kind == Apogee {
		ports, err := pickPorts()
		require.NoError(b, err)
		opts = append(opts, WithConf("metricsExporterType", "PROM"), WithConf("metricsPromExporterHost", "127.0.0.1"),
			WithConf("metricsPromExporterPort", strconv.Itoa(ports.namesrv)))
	}
	tg, err := newTarget(kind, b.TempDir(), opts...)
	require.NoError(b, err)
	fillMemory(b)
	defer func() {
		require.NoError(b, tg.Close())
		// The small files stay until the end: for a minute after thousands were removed ext4 is slow to make new ones.
		require.NoError(b, os.RemoveAll(filepath.Join(tg.StorePath(), "commitlog")))
	}()
	began := time.Now()
	require.NoError(b, tg.start())
	require.NoError(b, createTopic(tg.Broker(), "First", 8))
	require.NoError(b, poll(time.Minute, func() error {
		res, err := callOnce(tg.Broker(), codeSendMessage, sendFields("First", 0, ""), []byte("first"))
		if err == nil && res.Code != 0 {
			err = fmt.Errorf("%d: %s", res.Code, res.Remark)
		}
		return err
	}))
	all.add("start to first accepted send", kind, "s", time.Since(began).Seconds())
	all.memory(b, "memory after the start", kind, tg)
	all.footprint(b, kind)
	if g.before != nil {
		g.before(all, b, kind, tg)
	}
	for _, work := range []string{"produce", "consume"} {
		_, err := benchCommand(tg, []string{work, "--warmup", "0", "--duration", (3 * benchSeconds()).String()})
		require.NoError(b, err)
	}
	for _, cell := range g.cells {
		all.bench(b, cell, kind, tg)
	}
	all.memory(b, "memory after "+g.name, kind, tg)
	all.collections(b, "memory after "+g.name, kind, tg)
}

// bench runs one cell.
func (c *comparison) bench(b *testing.B, cell compareCell, kind Kind, tg *Target) {
	args := append([]string{cell.args[0], "--warmup", "2s", "--duration", benchSeconds().String()}, cell.args[1:]...)
	if at := slices.Index(args, halfRate); at >= 0 {
		full, ok := c.median("send 1 KiB, 16 connections x 32\tmessages/s", kind)
		require.True(b, ok)
		args[at] = strconv.Itoa(int(full / 2))
	}
	fillMemory(b) // what was taken back since the last cell
	out, err := benchCommand(tg, args)
	require.NoError(b, err, cell.name)
	var got struct {
		Seconds  float64
		Messages float64
		Latency  []struct {
			What                        string
			P50Us, P99Us, P999Us, MaxUs float64
		}
		Check   struct{ Acknowledged, Found, Missing, Repeated int64 }
		Process struct{ CPUUsPerMessage float64 }
		Refused []struct {
			Messages int64
			Name     string
		}
	}
	require.NoError(b, json.Unmarshal(out, &got))
	if got.Check.Missing > 0 {
		b.Fatalf("%s: %d of %d acknowledged messages are missing", cell.name, got.Check.Missing, got.Check.Acknowledged)
	}
	c.add(cell.name, kind, "messages/s", got.Messages/got.Seconds)
	c.add(cell.name, kind, "CPU us/message", got.Process.CPUUsPerMessage)
	for _, l := range got.Latency {
		c.add(cell.name, kind, l.What+" p50 us", l.P50Us)
		c.add(cell.name, kind, l.What+" p99 us", l.P99Us)
		c.add(cell.name, kind, l.What+" p99.9 us", l.P999Us)
		c.add(cell.name, kind, l.What+" max us", l.MaxUs)
	}
	for _, r := range got.Refused {
		c.add(cell.name, kind, "refused "+r.Name, float64(r.Messages))
	}
}

// benchCommand runs `apogee bench` on the cores that the server does not have.
func benchCommand(tg *Target, args []string) ([]byte, error) {
	bin, err := apogeeBinary()
	if err != nil {
		return nil, err
	}
	args = append([]string{bin, "bench"}, args...)
	args = append(args, "-n", tg.Namesrv(), "--progress", "0", "--output", "json", "--pid", strconv.Itoa(tg.broker.cmd.Process.Pid))
	if _, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		args = append([]string{"taskset", "-c", "1-" + strconv.Itoa(runtime.NumCPU()-1)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// memory notes what the broker's process has of its own.
func (c *comparison) memory(b *testing.B, what string, kind Kind, tg *Target) {
	c.add(what, kind, "anonymous MB", anonymousKiB(b, tg)/1024)
}

// anonymousKiB is the resident memory of a broker that is not of files.
func anonymousKiB(b testing.TB, tg *Target) float64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(tg.broker.cmd.Process.Pid), "status"))
	require.NoError(b, err)
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "RssAnon:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			require.NoError(b, err)
			return kib
		}
	}
	b.Fatal("the kernel does not tell how much anonymous memory a process has")
	return 0
}
