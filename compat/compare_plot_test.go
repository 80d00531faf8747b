package compat

import (
	"math"
	"os"
	"path/filepath"
	"slices"

	svg "github.com/ajstarks/svgo"
)

// plots are the pictures of a comparison: one metric of cells that belong together, or several metrics of one cell.
var plots = []struct {
	file, title string
	log         bool
	keys        []string // of comparison.seen
	names       []string
}{
	{"throughput.svg", "messages a second, ASYNC_FLUSH, server on one core", false, []string{
		"send 128 B, 16 connections x 32\tmessages/s", "send 1 KiB, 16 connections x 32\tmessages/s",
		"send 1 KiB, 2,000 connections x 1\tmessages/s"}, []string{"128 B, 16 x 32", "1 KiB, 16 x 32", "1 KiB, 2,000 x 1"}},
	{"cpu.svg", "CPU time of the server, us a message", false, []string{
		"send 128 B, 16 connections x 32\tCPU us/message", "send 1 KiB, 16 connections x 32\tCPU us/message",
		"batches of 32, 1 KiB, 4 connections x 4\tCPU us/message", "backlog 1 KiB, 4 connections\tCPU us/message",
	}, []string{"send 128 B", "send 1 KiB", "batches of 32 x 1 KiB", "backlog 1 KiB"}},
	{"sync.svg", "messages a second, SYNC_FLUSH, logarithmic", true, []string{
		"SYNC_FLUSH 1 KiB, 64 connections x 32\tmessages/s", "SYNC_FLUSH 1 KiB, 64 connections x 1\tmessages/s",
		"SYNC_FLUSH 1 KiB, 1 connection x 1\tmessages/s"}, []string{"64 x 32", "64 x 1", "1 x 1"}},
	{"topics.svg", "messages a second by number of topics of 8 queues", false, []string{
		"1 topic x 8 queues\tmessages/s", "64 topics x 8 queues\tmessages/s", "256 topics x 8 queues\tmessages/s",
		"1,024 topics x 8 queues\tmessages/s", "10,000 topics x 8 queues\tmessages/s"}, []string{"1", "64", "256", "1,024", "10,000"}},
	{"latency.svg", "end to end at 5,000 messages of 1 KiB a second, us, logarithmic", true, []string{
		"end to end at 5,000/s, 1 KiB\tend to end p50 us", "end to end at 5,000/s, 1 KiB\tend to end p99 us",
		"end to end at 5,000/s, 1 KiB\tend to end p99.9 us", "end to end at 5,000/s, 1 KiB\tend to end max us",
	}, []string{"p50", "p99", "p99.9", "max"}},
}

// plot draws what there is of the pictures.
func (c *comparison) plot(dir string) error {
	for _, p := range plots {
		values, seen := map[Kind][]float64{}, map[Kind]int{}
		for _, key := range p.keys {
			for _, kind := range []Kind{Apache, Apogee} {
				v, ok := c.median(key, kind)
				if ok {
					seen[kind]++
				} else {
					v = math.NaN() // no bar
				}
				values[kind] = append(values[kind], v)
			}
		}
		if seen[Apache] == 0 || seen[Apogee] < len(p.keys) {
			continue
		}
		if err := bars(filepath.Join(dir, p.file), p.title, p.log, p.names, values); err != nil {
			return err
		}
	}
	return nil
}

// Sizes of a picture in pixels.
const (
	barWidth, groupWidth  = 52, 170
	plotHeight, plotAbove = 240, 70
	plotBelow             = 36
)

// bars draws both kinds side by side, from zero, or on a logarithmic scale from the decade below the least.
func bars(path, title string, log bool, names []string, values map[Kind][]float64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	all := slices.DeleteFunc(slices.Concat(values[Apache], values[Apogee]), math.IsNaN)
	least, most := 0.0, slices.Max(all)
	scale := func(v float64) float64 { return v }
	if log {
		scale = func(v float64) float64 { return math.Log10(max(v, 1e-3)) }
		least = math.Floor(scale(slices.Min(all)) - 0.1)
	}
	height := func(v float64) int { return int((scale(v) - least) / (scale(most) - least) * plotHeight) }
	width := groupWidth*len(names) + 40
	floor := plotAbove + plotHeight
	s := svg.New(f)
	s.Start(width, floor+plotBelow)
	s.Title(title)
	s.Rect(0, 0, width, floor+plotBelow, "fill:#ffffff")
	s.Text(20, 22, title, "font:15px sans-serif;fill:#222222")
	for i, kind := range []Kind{Apache, Apogee} {
		color := []string{"#c86a3c", "#2a6fb0"}[i]
		s.Rect(20+i*150, 32, 12, 12, "fill:"+color)
		s.Text(37+i*150, 43, []string{"Apache RocketMQ", "Apogee"}[i], "font:12px sans-serif;fill:#222222")
		for n, v := range values[kind] {
			if math.IsNaN(v) {
				continue
			}
			x, h := 20+n*groupWidth+25+i*(barWidth+6), max(height(v), 1)
			s.Rect(x, floor-h, barWidth, h, "fill:"+color)
			s.Text(x+barWidth/2, floor-h-5, figure(v), "font:11px sans-serif;fill:#222222;text-anchor:middle")
		}
	}
	s.Line(20, floor, width-20, floor, "stroke:#222222")
	for n, name := range names {
		s.Text(20+n*groupWidth+25+barWidth+3, floor+20, name, "font:12px sans-serif;fill:#222222;text-anchor:middle")
	}
	s.End()
	return nil
}
