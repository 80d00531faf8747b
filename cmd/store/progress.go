package store

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progressPeriod is how often progress is printed.
const progressPeriod = time.Second

// progress prints how far a command is, and how long the rest will take.
type progress struct {
	w        io.Writer
	verb     string
	terminal bool

	mu      sync.Mutex // guards what follows
	started time.Time
	printed time.Time
	any     bool
}

func newProgress(w io.Writer, verb string) *progress {
	now := time.Now()
	p := &progress{w: w, verb: verb, started: now, printed: now}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// tell prints a line once a progressPeriod. Any goroutine may call it.
func (p *progress) tell(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	period := progressPeriod
	if !p.terminal {
		period = 10 * progressPeriod
	}
	if now.Sub(p.printed) < period {
		return
	}
	p.printed = now
	line := progressLine(p.verb, done, total, now.Sub(p.started))
	if p.terminal {
		fmt.Fprintf(p.w, "\r%-70s", line)
		p.any = true
		return
	}
	fmt.Fprintln(p.w, line)
}

func progressLine(verb string, done, total int64, took time.Duration) string {
	const mib = 1 << 20
	line := fmt.Sprintf("%s %d of %d MiB", verb, done/mib, total/mib)
	if done > 0 && total >= done {
		left := time.Duration(float64(took) * float64(total-done) / float64(done)).Round(time.Second)
		line += fmt.Sprintf(", %d%%, about %v left", 100*done/total, left)
	}
	return line
}

// end goes to a new line behind what was printed over and over.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.any {
		fmt.Fprintf(p.w, "\r%70s\r", "")
	}
}
