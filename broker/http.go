package broker

import (
	"fmt"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apogee-mq/apogee/remoting/web"
)

// The values of metricsExporterType that have an effect.
const (
	exporterNone = "DISABLE"
	exporterProm = "PROM"
)

// HTTPConfig is what the configuration says about metrics and health. Apache: BrokerConfig.metricsExporterType and its kin.
type HTTPConfig struct {
	web.Config
	// Exporter is DISABLE or PROM; Java's OTLP_GRPC and LOG are taken as DISABLE, with a warning.
	Exporter string
	// Collectors are shown beside the broker's own, those of a name server in the same process.
	Collectors []prometheus.Collector
}

// openHTTP listens, unless the configuration says that there is nothing to be served.
func (b *Broker) openHTTP(cfg Config) (err error) {
	c := cfg.HTTP
	if c.Exporter != exporterProm {
		if c.Exporter != exporterNone {
			b.log.Warn("metrics are served for Prometheus only; nothing is exported", "metricsExporterType", c.Exporter)
		}
		return nil
	}
	content := web.Content{Collectors: append([]prometheus.Collector{newMetrics(b, cfg)}, c.Collectors...), Healthy: b.healthy, Ready: b.ready}
	b.http, err = web.Open(c.Config, content, b.log)
	return err
}

// HTTPAddr is where metrics and health are served, not valid when they are not.
func (b *Broker) HTTPAddr() netip.AddrPort { return b.http.Addr() }

// healthy says why the broker cannot do its work: the store takes no messages any more.
func (b *Broker) healthy() (wrong []string) {
	if b.store.ReadOnly() {
		wrong = append(wrong, storeFailed)
	}
	return wrong
}

// ready says why clients do not find the broker or do not get all that it has: it has to be registered with a name server, if it
// has any, and what the log holds has to be in the queues.
func (b *Broker) ready() []string {
	wrong := b.healthy()
	if !b.register.Registered() {
		wrong = append(wrong, "not registered with any name server")
	}
	if behind := b.store.Written() - b.store.Dispatched(); behind > maxReadyBehind {
		wrong = append(wrong, fmt.Sprintf("%d bytes of the log are not yet in queues", behind))
	}
	return wrong
}

// storeFailed is the reason for not being healthy after a failed flush.
const storeFailed = "a flush has failed, the store takes no messages until it is restarted; the log says which file"

// maxReadyBehind is how much of the log may be on its way into queues while the broker is ready.
const maxReadyBehind = 64 << 20
