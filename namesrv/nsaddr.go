package namesrv

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/apogee-mq/apogee/remoting/web"
)

// GET /rocketmq/nsaddr, /rocketmq/nsaddr-UNIT?nofix=1: the list of name servers, for clients and brokers that are given no list but
// a domain (rocketmq.namesrv.domain). They expect "ip:port;ip:port" as plain text, ask every 2 min and go on with what they have when
// there is no answer. Apache has the asking side only: DefaultTopAddressing.

// nsaddrPath begins the paths; the name of a unit follows.
const nsaddrPath = "/rocketmq/nsaddr"

// NsaddrOptions say where the list of name servers is served. Their keys are Apogee's own.
type NsaddrOptions struct {
	// Port is listened on, on the name server's address; clients ask at 8080 unless their domain has a port. The default is 0: nothing
	// is served.
	Port int
	// List is what is answered, "host:port" separated by ";". Without it that is this name server alone, under the address that the
	// client has reached.
	List string
}

func (o *NsaddrOptions) validate() error {
	if o.List == "" {
		return nil
	}
	for _, addr := range strings.Split(o.List, ";") {
		host, port, err := net.SplitHostPort(addr)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || host == "" || n == 0 {
			return fmt.Errorf("nsaddrList=%s: %q is no address; want host:port;host:port", o.List, addr)
		}
	}
	return nil
}

// openNsaddr listens, unless there is nothing to be served.
func (s *Server) openNsaddr(opts *Options) (err error) {
	if opts.Nsaddr.Port == 0 {
		return nil
	}
	addr := net.JoinHostPort(opts.BindAddress, strconv.Itoa(opts.Nsaddr.Port))
	if s.nsaddr, err = web.OpenText(addr, s.nsaddrHandler(opts.Nsaddr.List), s.log); err != nil {
		return fmt.Errorf("serve the list of name servers on %s (nsaddrPort): %w", addr, err)
	}
	return nil
}

func (s *Server) nsaddrHandler(list string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unit, ok := strings.CutPrefix(r.URL.Path, nsaddrPath)
		switch {
		case !ok || unit != "" && (unit[0] != '-' || strings.Contains(unit, "/")):
			http.NotFound(w, r)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET is served", http.StatusMethodNotAllowed)
			return
		}
		answer := list
		if answer == "" {
			answer = s.reachedAt(r)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, answer) // the peer has gone
	})
}

// reachedAt is this name server under the address that the client has come to, where it listens on all of them.
func (s *Server) reachedAt(r *http.Request) string {
	own := s.Addr()
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if own.Addr().IsUnspecified() && ok {
		return netip.AddrPortFrom(local.AddrPort().Addr().Unmap().WithZone(""), own.Port()).String()
	}
	return own.String()
}

// NsaddrAddr is where the list of name servers is served, not valid when it is not.
func (s *Server) NsaddrAddr() netip.AddrPort { return s.nsaddr.Addr() }
