package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
)

// Severity says how bad a Finding is.
type Severity uint8

// The severities, from good to bad.
const (
	// Note is nothing wrong: what a stop that was not clean leaves, and the next start puts right by itself.
	Note Severity = iota
	// Derived is damage in what can be made anew from the log or from a backup: `apogee store repair` does it.
	Derived
	// Damage is loss: messages or settings that nothing in this directory can bring back.
	Damage
)

var severityNames = [...]string{Note: "note", Derived: "repairable", Damage: "damage"}

// String returns note, repairable or damage.
func (s Severity) String() string { return severityNames[s] }

// MarshalText makes JSON hold the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that Check found.
type Finding struct {
	Severity Severity `json:"severity"`
	// File is relative to the store's directory; Pos is in bytes from the file's beginning, -1 for the file as a whole.
	File string `json:"file"`
	Pos  int64  `json:"pos"`
	// What was found, what it means, and what to do about it.
	What  string `json:"what"`
	Means string `json:"means"`
	Do    string `json:"do"`
}

// String returns the finding in one line.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %s", f.Severity, f.File)
	if f.Pos >= 0 {
		fmt.Fprintf(&b, " at %d", f.Pos)
	}
	fmt.Fprintf(&b, ": %s", f.What)
	if f.Means != "" {
		fmt.Fprintf(&b, "; %s", f.Means)
	}
	if f.Do != "" {
		fmt.Fprintf(&b, "; %s", f.Do)
	}
	return b.String()
}

// What to do, as findings say it.
const (
	doRepair   = "run `apogee store repair`"
	doNextRun  = "nothing, the next start does it"
	doRestore  = "restore the file from a replica or a backup, or live without these messages"
	doSettings = "restore the file from a backup, or set them again"
)

// maxFindingsPerFile bounds what is told of one file.
const maxFindingsPerFile = 20

// findings passes on what is found, and counts it. Any goroutine may call it.
type findings struct {
	dir  string
	tell func(Finding)

	mu      sync.Mutex // guards what follows
	counts  [len(severityNames)]int64
	derived map[string]bool // files with a Derived finding
	told    map[string]int  // by file
}

func newFindings(dir string, tell func(Finding)) *findings {
	if tell == nil {
		tell = func(Finding) {}
	}
	return &findings{dir: dir, tell: tell, derived: make(map[string]bool), told: make(map[string]int)}
}

func (f *findings) add(x Finding) {
	if rel, err := filepath.Rel(f.dir, x.File); err == nil && !strings.HasPrefix(rel, "..") {
		x.File = rel
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[x.Severity]++
	if x.Severity == Derived {
		f.derived[x.File] = true
	}
	switch n := f.told[x.File]; {
	case n < maxFindingsPerFile:
		f.tell(x)
	case n == maxFindingsPerFile:
		x.Pos, x.What, x.Means, x.Do = -1, "there is more of this kind in the file", "only the first findings of a file are listed", ""
		f.tell(x)
	}
	f.told[x.File]++
}

// wrong reports whether a Derived finding names the file.
func (f *findings) wrong(path string) bool {
	rel, err := filepath.Rel(f.dir, path)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.derived[path] || err == nil && f.derived[rel]
}

func (f *findings) count(s Severity) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[s]
}
