package broker

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/apogee-mq/apogee/remoting/web"
)

// HTTPConfig is what the configuration says about metrics and health. Apache: BrokerConfig.metricsExporterType and its kin.
type HTTPConfig struct {
	web.Config
	// Exporter is DISABLE, PROM, OTLP_GRPC or LOG.
	Exporter string
	// Push is what the latter two need.
	Push web.PushConfig
	// Labels are those of every series besides Java's, "key:value,key:value". Apache: metricsLabel.
	Labels string
	// Collectors are shown beside the broker's own, those of a name server in the same process.
	Collectors []prometheus.Collector
}

// openHTTP serves or sends metrics, unless the configuration says that there is nothing of the kind.
func (b *Broker) openHTTP(cfg Config) (err error) {
	c := cfg.HTTP
	if c.Exporter == web.ExporterNone {
		return nil
	}
	if c.Exporter == web.ExporterOTLP && c.Push.Target == "" {
		b.log.Warn("metrics are not sent: set metricsGrpcExporterTarget to the collector's address", "metricsExporterType", c.Exporter)
		return nil
	}
	all := append([]prometheus.Collector{newMetrics(b, cfg)}, c.Collectors...)
	if c.Exporter == web.ExporterProm {
		b.http, err = web.Open(c.Config, web.Content{Collectors: all, Healthy: b.healthy, Ready: b.ready}, b.log)
		return err
	}
	b.pusher, err = web.OpenPusher(c.Exporter, c.Push, all, b.log)
	return err
}

// labels are those that every series has.
func (c *HTTPConfig) labels(cluster, broker string, log *slog.Logger) prometheus.Labels {
	always := make(prometheus.Labels)
	for pair := range strings.SplitSeq(c.Labels, ",") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, ":")
		if !ok || strings.Contains(value, ":") || !model.LegacyValidation.IsValidLabelName(key) {
			log.Warn("metricsLabel has a label that cannot be one, it is left out; want key:value,key:value", "label", pair)
			continue
		}
		always[key] = value
	}
	if c.Push.Delta {
		always["aggregation"] = "delta"
	}
	always["cluster"], always["node_type"], always["node_id"] = cluster, "broker", broker
	return always
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
