package bench

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what a run measured.
type result struct {
	Workload string            `json:"workload"`
	Settings map[string]string `json:"settings"`
	Seconds  float64           `json:"seconds"`
	Messages int64             `json:"messages"`
	Bytes    int64             `json:"bodyBytes"`
	Latency  []latency         `json:"latency,omitempty"`
	Refused  []refusal         `json:"refused,omitempty"`
	Check    *check            `json:"check,omitempty"`
	Dispatch *lag              `json:"dispatch,omitempty"`
	Process  *usage            `json:"process,omitempty"`

	series [][]string
	spread *hdrhistogram.Histogram
}

// latency is a distribution, in microseconds.
type latency struct {
	What string  `json:"what"`
	Mean float64 `json:"meanUs"`
	P50  float64 `json:"p50Us"`
	P90  float64 `json:"p90Us"`
	P99  float64 `json:"p99Us"`
	P999 float64 `json:"p999Us"`
	Max  float64 `json:"maxUs"`
}

func (r *result) addLatency(what string, ms meters) {
	h := ms.sum().latency
	us := func(ns int64) float64 { return float64(ns) / 1000 }
	r.Latency = append(r.Latency, latency{what, h.Mean() / 1000, us(h.ValueAtQuantile(50)), us(h.ValueAtQuantile(90)),
		us(h.ValueAtQuantile(99)), us(h.ValueAtQuantile(99.9)), us(h.Max())})
	r.spread = h
}

func (l *load) settings() map[string]string {
	s := map[string]string{"connections": strconv.Itoa(l.conns), "size": strconv.Itoa(l.size), "batch": strconv.Itoa(l.batch),
		"warmup": l.warmup.String(), "duration": l.length.String()}
	if l.topic == "" {
		s["topics"], s["queues"] = strconv.Itoa(l.topics), strconv.Itoa(l.queues)
	} else {
		s["topic"] = l.topic
	}
	if l.rate > 0 {
		s["rate"] = strconv.Itoa(l.rate)
	} else {
		s["window"] = strconv.Itoa(l.window)
	}
	return s
}

// write prints the result in the format that was asked for and writes the files.
func (r *result) write(l *load) error {
	if l.series != "" {
		if err := writeFile(l.series, func(w io.Writer) error { return csv.NewWriter(w).WriteAll(r.series) }); err != nil {
			return err
		}
	}
	if l.spread != "" && r.spread != nil {
		print := func(w io.Writer) error { _, err := r.spread.PercentilesPrint(w, 5, 1000); return err }
		if err := writeFile(l.spread, print); err != nil {
			return err
		}
	}
	switch l.format {
	case "json":
		e := json.NewEncoder(l.out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "csv":
		return csv.NewWriter(l.out).WriteAll(r.rows())
	}
	return r.print(l.out)
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (r *result) perSecond() float64 { return float64(r.Messages) / max(r.Seconds, 1e-9) }

func (r *result) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\t%d messages in %.1f s\n", r.Workload, r.Messages, r.Seconds)
	fmt.Fprintf(t, "throughput\t%.0f messages/s\t%.1f MB/s of bodies\n", r.perSecond(), float64(r.Bytes)/max(r.Seconds, 1e-9)/1e6)
	for _, d := range r.Latency {
		fmt.Fprintf(t, "%s\tp50 %s\tp90 %s\tp99 %s\tp99.9 %s\tmax %s\n", d.What, micros(d.P50), micros(d.P90), micros(d.P99), micros(d.P999), micros(d.Max))
	}
	if p := r.Process; p != nil {
		fmt.Fprintf(t, "server\t%.2f us CPU per message\t%.2f cores\t%.1f MB resident, %.1f MB of it anonymous\n",
			p.MicrosPerMessage, p.CPUSeconds/max(r.Seconds, 1e-9), float64(p.ResidentBytes)/1e6, float64(p.AnonymousBytes)/1e6)
	}
	if d := r.Dispatch; d != nil {
		fmt.Fprintf(t, "dispatch\tat most %s and %.1f MB behind the log\t%d readings\n", micros(d.Millis*1000), float64(d.Bytes)/1e6, d.Readings)
	}
	for _, refused := range r.Refused {
		fmt.Fprintf(t, "refused\t%d with %d %s\t%s\n", refused.Messages, refused.Code, refused.Name, refused.Remark)
	}
	if c := r.Check; c != nil {
		fmt.Fprintf(t, "read back\t%d of %d acknowledged\t%d missing\t%d twice\n", c.Found, c.Acknowledged, c.Missing, c.Repeated)
	}
	return t.Flush()
}

func micros(us float64) string { return time.Duration(us * 1000).Round(time.Microsecond).String() }

// rows are a head and one line.
func (r *result) rows() [][]string {
	head := []string{"workload", "seconds", "messages", "messages_per_second", "body_bytes_per_second"}
	line := []string{r.Workload, decimal(r.Seconds), strconv.FormatInt(r.Messages, 10), decimal(r.perSecond()), decimal(float64(r.Bytes) / max(r.Seconds, 1e-9))}
	for _, d := range r.Latency {
		name := map[string]string{"send": "send", "end to end": "end_to_end"}[d.What]
		for _, v := range []struct {
			name string
			us   float64
		}{{"p50", d.P50}, {"p90", d.P90}, {"p99", d.P99}, {"p999", d.P999}, {"max", d.Max}} {
			head, line = append(head, name+"_"+v.name+"_us"), append(line, decimal(v.us))
		}
	}
	if p := r.Process; p != nil {
		head = append(head, "cpu_us_per_message", "resident_bytes", "anonymous_bytes")
		line = append(line, decimal(p.MicrosPerMessage), strconv.FormatInt(p.ResidentBytes, 10), strconv.FormatInt(p.AnonymousBytes, 10))
	}
	if d := r.Dispatch; d != nil {
		head = append(head, "dispatch_behind_max_ms", "dispatch_behind_max_bytes")
		line = append(line, decimal(d.Millis), strconv.FormatInt(d.Bytes, 10))
	}
	if c := r.Check; c != nil {
		head = append(head, "acknowledged", "missing", "repeated")
		line = append(line, strconv.FormatInt(c.Acknowledged, 10), strconv.FormatInt(c.Missing, 10), strconv.FormatInt(c.Repeated, 10))
	}
	return [][]string{head, line}
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }

// series is the progress of a run.
type series struct {
	l     *load
	ms    meters
	start time.Time
	last  time.Time
	seen  int64
	lines [][]string
}

func newSeries(l *load, ms meters) *series {
	now := time.Now()
	return &series{l: l, ms: ms, start: now, last: now, lines: [][]string{{"seconds", "messages", "messages_per_second"}}}
}

func (s *series) tick(now time.Time) {
	n := s.ms.messages()
	rate := float64(n-s.seen) / max(now.Sub(s.last).Seconds(), 1e-9)
	s.lines = append(s.lines, []string{decimal(now.Sub(s.start).Seconds()), strconv.FormatInt(n, 10), decimal(rate)})
	fmt.Fprintf(s.l.progress, "%6.1f s  %12d messages  %10.0f/s\n", now.Sub(s.start).Seconds(), n, rate)
	s.seen, s.last = n, now
}
