package namesrv

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apogee-mq/apogee/remoting/web"
)

// exporterProm switches metrics and health on, as on a broker.
const exporterProm = "PROM"

// HTTPOptions say where metrics and health are served. Their keys are a broker's; Apache's name server has none.
type HTTPOptions struct {
	web.Config
	// Exporter is DISABLE or PROM.
	Exporter string
}

func defaultHTTPOptions() HTTPOptions {
	return HTTPOptions{Config: web.Config{Port: 5558}, Exporter: "DISABLE"}
}

// openHTTP listens, unless the configuration says that there is nothing to be served. A name server that listens is healthy, and
// ready as soon as it gives routes.
func (s *Server) openHTTP(opts *Options) (err error) {
	if opts.HTTP.Exporter != exporterProm {
		return nil
	}
	healthy := func() []string { return nil }
	content := web.Content{Collectors: []prometheus.Collector{s.Collector()}, Healthy: healthy, Ready: s.ready}
	s.http, err = web.Open(opts.HTTP.Config, content, s.log)
	return err
}

// ready says why clients get no routes: needWaitForService holds them back after a start.
func (s *Server) ready() []string {
	if s.waiting() && len(s.keeper.restored) == 0 {
		return []string{"brokers are given time to register after the start (needWaitForService)"}
	}
	return nil
}

// HTTPAddr is where metrics and health are served, not valid when they are not.
func (s *Server) HTTPAddr() netip.AddrPort { return s.http.Addr() }
