package broker

import (
	"net/netip"
	"time"

	"github.com/apogee-mq/apogee/auth"
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
	if !cfg.Auth.On() && openToOthers(cfg.BindAddress) {
		b.log.Warn("anybody who reaches this broker may administer it: neither aclEnable nor authenticationEnabled is set", "bindAddress", cfg.BindAddress)
	}
	return nil
}

// openToOthers reports whether other machines can reach what listens on an address.
func openToOthers(bind string) bool {
	ip, err := netip.ParseAddr(bind)
	return bind != "localhost" && (err != nil || !ip.IsLoopback())
}
