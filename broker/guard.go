package broker

import (
	"time"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// clientOptions are those of the broker's own requests, signed with innerClientAuthenticationCredentials if there are any.
// Apache: BrokerOuterAPI.newAclRPCHook.
func clientOptions(cfg Config) remoting.ClientOptions {
	opts := remoting.DefaultClientOptions()
	if s := cfg.Auth.InnerSigner(); s != nil {
		opts.Sign = s.Sign
	}
	return opts
}

// openGuard reads who may do what. It runs once the store is locked, since the users lie in its folder.
func (b *Broker) openGuard(cfg Config) (err error) {
	b.guard, err = auth.Open(auth.Options{Config: cfg.Auth, Cluster: cfg.ClusterName, Dir: cfg.Auth.Dir(cfg.StoreRoot), Logger: b.log, Now: time.Now})
	if err != nil {
		return err
	}
	b.guard.WarnOfRocksDB(cfg.StoreRoot)
	if cfg.OnGuard != nil {
		cfg.OnGuard(b.guard)
	}
	if !cfg.Auth.On() && auth.OpenToOthers(cfg.BindAddress) {
		b.log.Warn("anybody who reaches this broker may administer it: neither aclEnable nor authenticationEnabled is set", "bindAddress", cfg.BindAddress)
	}
	return nil
}

// guarded wraps the one handler that only knows when it has read what it reads.
func (b *Broker) guarded(entries []remoting.Entry) []remoting.Entry {
	for i := range entries {
		if entries[i].Code != codec.ViewMessageByID {
			continue
		}
		view := entries[i].Handler
		entries[i].Handler = func(req *remoting.Request) (*codec.Command, error) {
			resp, err := view(req)
			if err != nil || resp == nil || len(resp.Body) == 0 {
				return resp, err
			}
			var m codec.Message
			if _, err := codec.DecodeMessage(resp.Body, &m); err != nil {
				return nil, err
			}
			if err := b.guard.MayRead(req, m.Topic); err != nil {
				return nil, err
			}
			return resp, nil
		}
	}
	return entries
}
