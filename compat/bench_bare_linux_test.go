package compat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// bareServer is one event loop that does for a message what any broker has to, one read and one write a turn, and nothing else: it
// neither looks at what it reads nor makes what it writes.
type bareServer struct {
	epoll, listener int
	conns           map[int]*bareConn
	receivers       []*bareConn // since the last sender: the next one's
	in, out         []byte
	file            int
	log             []byte // its pages, as a commit log's: what bareBacklog answers with, and where bareFlush writes
	at              int
	unflushed       []*bareConn // with requests of this turn
}

type bareConn struct {
	fd int
	bareHello
	to   []*bareConn // of a sender: who gets its messages, in turn
	next int
	got  int // bytes of a request that is not whole yet
	owed int // answers once the file is flushed
}

const (
	bareLogBytes = 256 << 20
	bareMost     = 1 << 20 // bytes of one write
)

// serveBare says its port on stdout, and serves until the process is ended. Its log goes into the working directory.
func serveBare() error {
	runtime.LockOSThread()
	s := &bareServer{conns: map[int]*bareConn{}, in: make([]byte, 64<<10), out: make([]byte, bareMost)}
	f, err := os.Create("bare")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(bareLogBytes); err != nil {
		return err
	}
	s.file = int(f.Fd())
	if s.log, err = unix.Mmap(s.file, 0, bareLogBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	for i := 0; i < bareLogBytes; i += os.Getpagesize() {
		s.log[i] = 1
	}
	if err := f.Sync(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	s.listener = int(lf.Fd())
	if s.epoll, err = unix.EpollCreate1(0); err != nil {
		return err
	}
	if err := s.watch(s.listener); err != nil {
		return err
	}
	fmt.Println(l.Addr())
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for i := range max(n, 0) {
			if err := s.turn(int(events[i].Fd)); err != nil {
				return err
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

func (s *bareServer) watch(fd int) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// turn accepts a connection, or reads once and answers what is whole.
func (s *bareServer) turn(fd int) error {
	if fd == s.listener {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
		if err != nil {
			return err
		}
		s.conns[fd] = &bareConn{fd: fd}
		return s.watch(fd)
	}
	c := s.conns[fd]
	in := s.in
	if c.Kind == 0 {
		in = in[:binary.Size(c.bareHello)]
	}
	n, err := unix.Read(fd, in)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if n <= 0 {
		delete(s.conns, fd)
		return unix.Close(fd)
	}
	if c.Kind == 0 {
		if _, err := binary.Decode(in[:n], binary.BigEndian, &c.bareHello); err != nil {
			return err
		}
		switch c.Kind {
		case bareReceive:
			s.receivers = append(s.receivers, c)
		case bareSend:
			c.to, s.receivers = s.receivers, nil
		}
		return nil
	}
	c.got += n
	whole := c.got / int(c.Request)
	c.got %= int(c.Request)
	return s.answer(c, whole)
}

func (s *bareServer) answer(c *bareConn, whole int) error {
	if whole == 0 {
		return nil
	}
	switch c.Kind {
	case bareEcho:
		return writeAll(c.fd, s.out[:whole*int(c.Answer)])
	case bareBacklog:
		for range whole {
			if s.at+int(c.Answer) > len(s.log) {
				s.at = 0
			}
			if err := writeAll(c.fd, s.log[s.at:s.at+int(c.Answer)]); err != nil {
				return err
			}
			s.at += int(c.Answer)
		}
	case bareFlush:
		if s.at+len(s.in) > len(s.log) {
			s.at = 0
		}
		s.at += copy(s.log[s.at:], s.in[:whole*int(c.Request)])
		c.owed = whole
		s.unflushed = append(s.unflushed, c)
	case bareSend:
		if err := writeAll(c.fd, s.out[:whole*int(c.Answer)]); err != nil {
			return err
		}
		return s.pass(c, whole)
	}
	return nil
}

// flush has what was written in this turn of the loop on disk, and answers.
func (s *bareServer) flush() error {
	if len(s.unflushed) == 0 {
		return nil
	}
	if err := unix.Fdatasync(s.file); err != nil {
		return err
	}
	for _, c := range s.unflushed {
		if err := writeAll(c.fd, s.out[:c.owed*int(c.Answer)]); err != nil {
			return err
		}
	}
	s.unflushed = s.unflushed[:0]
	return nil
}

// pass writes so many messages of a sender to its receivers, once to each.
func (s *bareServer) pass(c *bareConn, whole int) error {
	for i := range min(whole, len(c.to)) {
		to := c.to[(c.next+i)%len(c.to)]
		n := (whole - i + len(c.to) - 1) / len(c.to)
		if err := writeAll(to.fd, s.out[:n*int(to.Answer)]); err != nil {
			return err
		}
	}
	c.next += whole
	return nil
}

// writeAll writes to a socket that blocks. A client that went away in the midst of a load is no error.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == nil:
			b = b[n:]
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
			return nil
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return nil
}

// bareAlarm waits as the open loop of `apogee bench` does.
type bareAlarm struct{ file *os.File }

func newBareAlarm() (*bareAlarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	return &bareAlarm{os.NewFile(uintptr(fd), "timerfd")}, err
}

func (a *bareAlarm) wait(d time.Duration) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, d.Nanoseconds()))}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.TimerfdSettime(int(fd), 0, &at, nil) })
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	var times [8]byte
	_, err = a.file.Read(times[:])
	return err
}

func (a *bareAlarm) stop() { _ = a.file.Close() }

// bareCommand starts the test program as a bare server on the core of the other servers, which ends with this process.
func bareCommand(dir string) *exec.Cmd {
	args := []string{os.Args[0]}
	if path, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{path, "-c", "0"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), bareEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = childAttr()
	return cmd
}
