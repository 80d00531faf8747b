package broker

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/remoting"
)

// ListenConfig says where the broker is reached besides its main address. The keys are Apogee's own.
type ListenConfig struct {
	// Listeners are further addresses to listen on, as remoting.ParseListeners reads them. They serve what the main port serves.
	Listeners string
	// Advertised is what clients are given that come through the name servers' listener of that name, as remoting.ParseNamedAddrs
	// reads it.
	Advertised string
}

func (c *ListenConfig) validate(bind string) error {
	if _, err := remoting.ParseListeners(c.Listeners, bind); err != nil {
		return fmt.Errorf("listeners=%s: %w", c.Listeners, err)
	}
	if _, err := remoting.ParseNamedAddrs(c.Advertised); err != nil {
		return fmt.Errorf("advertisedAddrs=%s: %w", c.Advertised, err)
	}
	return nil
}

// listenOn returns all addresses to listen on: the main one, the VIP port at listenerVIP, then Listeners.
func (c *Config) listenOn() []string {
	addrs := []string{hostPort(c.BindAddress, c.ListenPort), hostPort(c.BindAddress, c.ListenPort-vipBelow)}
	more, _ := remoting.ParseListeners(c.Listeners, c.BindAddress) // validate has looked
	for _, l := range more {
		addrs = append(addrs, l.Addr)
	}
	return addrs
}

// logAdvertised says what clients of each listener are given and, as far as can be seen from here, whether it leads anywhere.
func (c *ListenConfig) logAdvertised(log *slog.Logger) {
	addrs, _ := remoting.ParseNamedAddrs(c.Advertised) // validate has looked
	var dials sync.WaitGroup
	for _, a := range addrs {
		dials.Go(func() {
			log := log.With("listener", a.Name, "addr", a.Addr)
			if err := dialSelf(a.Addr, time.Second); err != nil {
				log.Warn("clients of a name server's listener are given an address that cannot be reached from here, which need not mean that they cannot", "err", err)
				return
			}
			log.Info("clients of a name server's listener are given this address")
		})
	}
	dials.Wait()
}
