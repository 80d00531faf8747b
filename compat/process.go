package compat

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// command is what a launcher wants to have run.
type command struct {
	name string // of the process, for people
	path string
	args []string
	env  []string // added to ours
	dir  string
}

// after is c with its command line behind prefix.
func (c *command) after(prefix []string) *command {
	if len(prefix) == 0 {
		return c
	}
	behind := *c
	behind.path, behind.args = prefix[0], append(append(prefix[1:len(prefix):len(prefix)], c.path), c.args...)
	return &behind
}

// process is a running child and the file its output goes to. One goroutine waits for its end and closes done.
type process struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // of the exit; read after done
	told    bool  // to end
}

// startProcess starts the command; its output is appended to <dir>/<name>.out.
func startProcess(c *command) (*process, error) {
	p := &process{name: c.name, logPath: filepath.Join(c.dir, c.name+".out"), done: make(chan struct{})}
	out, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", c.name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(c.path, c.args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.dir, out, out
	p.cmd.Env = append(os.Environ(), c.env...)
	p.cmd.SysProcAttr = childAttr()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// exitErr is how the process ended, with the end of its log.
func (p *process) exitErr() error {
	<-p.done
	return fmt.Errorf("%s: %v\n%s", p.name, p.err, tail(p.logPath, logTailBytes))
}

// stop sends SIGTERM and waits. Exit codes 0 and, as the JVM has it, 143 are clean.
func (p *process) stop(limit time.Duration) error {
	p.told = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(limit):
		return fmt.Errorf("%s runs %v after SIGTERM", p.name, limit)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && code != 143 {
		return p.exitErr()
	}
	return nil
}

// kill sends SIGKILL and waits for the end.
func (p *process) kill() {
	p.told = true
	_ = p.cmd.Process.Kill()
	<-p.done
}

// tail is the end of a file, or why it cannot be read.
func tail(path string, limitBytes int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > limitBytes {
		_, _ = f.Seek(-limitBytes, io.SeekEnd)
	} else {
		_, _ = f.Seek(0, io.SeekStart)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	var kept []string
	for _, line := range strings.Split(string(b), "\n") {
		if !strings.Contains(line, "|-INFO in ") && !strings.Contains(line, " INFO ") { // what Apache says all the time
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}
