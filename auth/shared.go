package auth

import (
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Shared lets a name server check requests with the guard of the broker in the same process, which is opened later.
type Shared struct{ guard atomic.Pointer[Guard] }

var errNoGuardYet = &codec.Refusal{Code: codec.SystemError, Remark: "the users are being read, try again"}

// Set gives the guard.
func (s *Shared) Set(g *Guard) { s.guard.Store(g) }

// Check checks a request; before there is a guard every one is refused.
func (s *Shared) Check(req *remoting.Request) error {
	g := s.guard.Load()
	if g == nil {
		return errNoGuardYet
	}
	if check := g.Check(); check != nil {
		return check(req)
	}
	return nil
}
