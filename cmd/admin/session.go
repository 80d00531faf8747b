package admin

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/apogee-mq/apogee/remoting"
)

// session is one run of a command: its options, the servers it may ask, and what it shows.
type session struct {
	ctx     context.Context
	flags   *pflag.FlagSet
	client  *remoting.Client
	servers []string // name servers, at least one
	keys    credentials
	timeout time.Duration // of one request
	out     *output
	errw    io.Writer
	now     func() time.Time
}

// given says whether an option stands on the command line.
func (s *session) given(name string) bool { return s.flags.Changed(name) }

// text returns the value of an option without the blanks around it, as Apache's commands do.
func (s *session) text(name string) string {
	value, err := s.flags.GetString(name)
	if err != nil {
		panic(err) // a command asks for an option that it has not
	}
	return strings.TrimSpace(value)
}

// textOr is text with a default.
func (s *session) textOr(name, otherwise string) string {
	if !s.given(name) {
		return otherwise
	}
	return s.text(name)
}

// number returns the value of an option that check has found to be a number.
func (s *session) number(name string, otherwise int64) int64 {
	if !s.given(name) {
		return otherwise
	}
	n, err := strconv.ParseInt(s.text(name), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// boolean returns the value of an option that is true or false, or whether a switch is given.
func (s *session) boolean(name string, otherwise bool) bool {
	if !s.given(name) {
		return otherwise
	}
	if on, err := s.flags.GetBool(name); err == nil {
		return on
	}
	return strings.EqualFold(s.text(name), "true")
}

// every runs round once, or again and again each interval until the command is stopped.
func (s *session) every(interval time.Duration, again bool, round func() error) error {
	for {
		if err := round(); err != nil {
			return err
		}
		if !again {
			return nil
		}
		if err := s.out.flush(); err != nil {
			return err
		}
		if !s.wait(interval) {
			return nil
		}
	}
}

// wait waits, and says whether the time has passed as against that the command was stopped.
func (s *session) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// each does something at every address, reports each one, goes on after a failure, and fails when one did. done is the line for
// people about an address at which it went well.
func (s *session) each(addrs []string, done func(addr string) string, do func(addr string) error) error {
	failures := 0
	var last error
	for _, addr := range addrs {
		err := do(addr)
		if err != nil {
			failures, last = failures+1, err
			if len(addrs) > 1 {
				fmt.Fprintf(s.errw, "%s: %v\n", addr, err)
			}
			s.out.add(record{{"addr", addr}, {"ok", false}, {"error", err.Error()}})
			continue
		}
		s.say("%s\n", done(addr))
		s.out.add(record{{"addr", addr}, {"ok", true}})
	}
	switch {
	case failures == 0:
		return nil
	case len(addrs) == 1:
		return last
	}
	return fmt.Errorf("%d of %d servers failed, see above", failures, len(addrs))
}
