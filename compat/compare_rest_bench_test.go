package compat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// idleConnections is how many clients the idle cell has, which send a heartbeat every 30 s each, as Java's do.
const idleConnections = 10_000

// idle measures what clients cost that are connected and do nothing but say so.
func (c *comparison) idle(b *testing.B, kind Kind, tg *Target) {
	const seconds = 10
	quiet := cpuSeconds(b, tg)
	<-time.After(seconds * time.Second)
	c.add("idle", kind, "% of a core", (cpuSeconds(b, tg)-quiet)/seconds*100)
	before := anonymousKiB(b, tg)
	pipes := make([]*pipe, 0, idleConnections)
	defer func() {
		for _, p := range pipes {
			p.close()
		}
	}()
	maker := newFrameMaker(codeHeartbeat, nil)
	beat := func(i int) {
		p := pipes[i]
		p.out = maker.append(p.out[:0], firstOpaque, heartbeat{clientID: "idle-" + strconv.Itoa(i), producerGroup: "IdleProducers"}.body())
		_, err := p.conn.Write(p.out)
		require.NoError(b, err)
		var a reply
		require.NoError(b, p.read(&a))
		require.Equal(b, resSuccess, a.code)
	}
	for i := range idleConnections {
		conn, err := net.DialTimeout("tcp", tg.Broker(), 3*time.Second)
		require.NoError(b, err)
		pipes = append(pipes, &pipe{conn: conn, r: bufio.NewReaderSize(conn, 512)})
		beat(i)
	}
	name := fmt.Sprintf("%d idle connections with heartbeats", idleConnections)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, busy, beats := time.Now(), cpuSeconds(b, tg), 0
	for time.Since(began) < seconds*time.Second {
		for beats < int(time.Since(began).Seconds()*idleConnections/30) {
			beat(beats % idleConnections)
			beats++
		}
		<-tick.C
	}
	c.add(name, kind, "% of a core", (cpuSeconds(b, tg)-busy)/time.Since(began).Seconds()*100)
	c.add(name, kind, "anonymous bytes each", max(anonymousKiB(b, tg)-before, 0)*1024/idleConnections)
}

// footprint notes what a server's program takes on disk, without a JVM.
func (c *comparison) footprint(b *testing.B, kind Kind) {
	program, err := apogeeBinary()
	if kind == Apache {
		program, err = stackJars()
	}
	require.NoError(b, err)
	c.add("program", kind, "MB on disk", float64(fileBytes(b, program))/1e6)
}

// fileBytes is the length of a file, or of all in a directory.
func fileBytes(b *testing.B, path string) (n int64) {
	require.NoError(b, filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	}))
	return n
}

// device measures how often a second the disk takes a flush of as much as one message: nobody who waits for each of them alone
// is faster.
func (c *comparison) device(b *testing.B, dir string) {
	f, err := os.Create(filepath.Join(dir, "device"))
	require.NoError(b, err)
	defer f.Close()
	const zeros, each, most = 8 << 20, 1300, 4000
	_, err = f.Write(make([]byte, zeros))
	require.NoError(b, errors.Join(err, f.Sync()))
	var rate float64
	require.NoError(b, onFirstCore(func() {
		began, n, piece := time.Now(), 0, make([]byte, each)
		for ; n < most && time.Since(began) < benchSeconds(); n++ {
			_, err := f.WriteAt(piece, int64(n)*each)
			require.NoError(b, errors.Join(err, flushData(f)))
		}
		rate = float64(n) / time.Since(began).Seconds()
	}))
	for _, kind := range []Kind{Apache, Apogee} {
		c.add("the disk: write + fdatasync of 1,300 bytes", kind, "a second", rate)
	}
}

// fillMemory has the page cache take what memory is free, as on any machine that has run for a while, with the pages of a hole, which
// cost no disk. A virtual machine gives memory that is free back to its host, and asks for it again page by page: without this each
// page of a log would cost more than all that a broker does for the messages in it.
func fillMemory(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "filler"))
	require.NoError(b, err)
	defer f.Close()
	free, err := freeMemory()
	require.NoError(b, err)
	require.NoError(b, f.Truncate(free))
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	require.NoError(b, err)
}

// collections notes how much time a server's garbage collector has taken since the start, and the longest time that it stood still,
// which Apache's does not tell without a log.
func (c *comparison) collections(b *testing.B, what string, kind Kind, tg *Target) {
	if kind == Apache {
		out, err := exec.Command("jstat", "-gcutil", strconv.Itoa(tg.broker.cmd.Process.Pid)).Output()
		if err != nil {
			b.Logf("collections of Apache's server are not measured: %v", err)
			return
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		names, values := strings.Fields(lines[0]), strings.Fields(lines[len(lines)-1])
		for i, name := range names {
			if name == "GCT" {
				seconds, err := strconv.ParseFloat(values[i], 64)
				require.NoError(b, err)
				c.add(what, kind, "garbage collection, ms in all", seconds*1000)
			}
		}
		return
	}
	resp, err := http.Get("http://127.0.0.1:" + tg.conf["metricsPromExporterPort"] + "/metrics")
	require.NoError(b, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b, err)
	for line := range strings.Lines(string(body)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		v, err := strconv.ParseFloat(f[1], 64)
		switch {
		case err != nil:
		case f[0] == `go_gc_duration_seconds{quantile="1"}`:
			c.add(what, kind, "garbage collection, longest pause us", v*1e6)
		case f[0] == "go_gc_duration_seconds_sum":
			c.add(what, kind, "garbage collection, ms in all", v*1e3)
		case f[0] == "go_gc_duration_seconds_count":
			c.add(what, kind, "garbage collections", v)
		case f[0] == "go_memstats_heap_inuse_bytes":
			c.add(what, kind, "heap MB", v/1e6)
		}
	}
}

// cpuSeconds is the processor time that a broker has had.
func cpuSeconds(b *testing.B, tg *Target) float64 {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(tg.broker.cmd.Process.Pid), "stat"))
	require.NoError(b, err)
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // from field 3 on
	user, err := strconv.ParseFloat(f[11], 64)
	require.NoError(b, err)
	system, err := strconv.ParseFloat(f[12], 64)
	require.NoError(b, err)
	return (user + system) / 100 // USER_HZ
}
