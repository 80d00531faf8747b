package compat

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// comparison is what the rounds measured, in the order in which it came first.
type comparison struct {
	order []string // "cell\tmetric"
	seen  map[string]map[Kind][]float64
}

func newComparison() *comparison { return &comparison{seen: map[string]map[Kind][]float64{}} }

func (c *comparison) add(cell string, kind Kind, metric string, v float64) {
	key := cell + "\t" + metric
	if c.seen[key] == nil {
		c.seen[key] = map[Kind][]float64{}
		c.order = append(c.order, key)
	}
	c.seen[key][kind] = append(c.seen[key][kind], v)
}

func (c *comparison) median(key string, kind Kind) (float64, bool) {
	v := c.seen[key][kind]
	if len(v) == 0 {
		return 0, false
	}
	return median(v), true
}

// median returns the middle of at least one value.
func median(of []float64) float64 {
	v := slices.Sorted(slices.Values(of))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// comparisonLine is what compare.json has of a cell.
type comparisonLine struct {
	Cell, Metric   string
	Apache, Apogee []float64
}

// load adds what an earlier run wrote.
func (c *comparison) load(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "compare.json"))
	if err != nil {
		return err
	}
	var lines []comparisonLine
	if err := json.Unmarshal(b, &lines); err != nil {
		return err
	}
	for _, l := range lines {
		for kind, list := range map[Kind][]float64{Apache: l.Apache, Apogee: l.Apogee} {
			for _, v := range list {
				c.add(l.Cell, kind, l.Metric, v)
			}
		}
	}
	return nil
}

// write makes compare.md, compare.json and the plots.
func (c *comparison) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var lines []comparisonLine
	var md strings.Builder
	md.WriteString("| what | | Apache RocketMQ | Apogee | ratio | spread: Apache, Apogee |\n|---|---|---:|---:|---:|---:|\n")
	last := ""
	for _, key := range c.order {
		cell, metric, _ := strings.Cut(key, "\t")
		v := c.seen[key]
		if strings.HasPrefix(metric, "send p") && strings.Contains(cell, " x 32") {
			continue // in a full window latency is the window divided by the throughput and says no more than that
		}
		lines = append(lines, comparisonLine{cell, metric, v[Apache], v[Apogee]})
		theirs, there := c.median(key, Apache)
		ours, here := c.median(key, Apogee)
		name := cell
		if cell == last {
			name = ""
		}
		last = cell
		ratio := ""
		if there && here && theirs > 0 && ours > 0 {
			if ratio = fmt.Sprintf("%.2f", ours/theirs); ours < theirs {
				ratio = fmt.Sprintf("1/%.2f", theirs/ours)
			}
		}
		fmt.Fprintf(&md, "| %s | %s | %s | %s | %s | %s, %s |\n", name, metric, figureIf(theirs, there), figureIf(ours, here), ratio, spread(v[Apache]), spread(v[Apogee]))
	}
	b, err := json.MarshalIndent(lines, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "compare.json"), b, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "compare.md"), []byte(md.String()), 0o644); err != nil {
		return err
	}
	return c.plot(dir)
}

func figure(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// figureIf is figure, or a dash for what was not measured.
func figureIf(v float64, measured bool) string {
	if !measured {
		return "-"
	}
	return figure(v)
}

// spread is how far the rounds lie apart, in percent of the median.
func spread(v []float64) string {
	if len(v) < 2 || slices.Max(v) == 0 {
		return "-"
	}
	s := slices.Sorted(slices.Values(v))
	return fmt.Sprintf("%.0f %%", (s[len(s)-1]-s[0])/max(s[len(s)/2], 1e-9)*100)
}

// TestComparisonIsWritten: medians and ratios stand in the table, and the pictures are SVG.
func TestComparisonIsWritten(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newComparison()
	for _, p := range plots {
		for i, key := range p.keys {
			cell, metric, _ := strings.Cut(key, "\t")
			for round := range 3 {
				c.add(cell, Apache, metric, float64(100*(i+1)+round))
				c.add(cell, Apogee, metric, float64(1000*(i+1)+round))
			}
		}
	}
	require.NoError(t, c.write(dir))
	md, err := os.ReadFile(filepath.Join(dir, "compare.md"))
	require.NoError(t, err)
	require.Contains(t, string(md), "| send 128 B, 16 connections x 32 | messages/s | 101.0 | 1001 | 9.91 | 2 %, 0 % |")
	for _, p := range plots {
		b, err := os.ReadFile(filepath.Join(dir, p.file))
		require.NoError(t, err)
		require.NoError(t, xml.Unmarshal(b, new(struct {
			XMLName xml.Name `xml:"svg"`
		})), p.file)
	}
	again := newComparison()
	require.NoError(t, again.load(dir))
	require.Equal(t, c.seen, again.seen)
	require.Equal(t, c.order, again.order)
}
