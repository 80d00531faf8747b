package namesrv

import (
	"fmt"
	"net"
	"strconv"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// A broker may be reached at other addresses from other networks. It advertises these under the names of the name server's further
// listeners (key listeners), and who comes through one of them is given them: in routes (105), of clusters (106, 901, 304). A broker that
// advertises nothing under that name is given with its plain address. Apache has one address for all.

// doors are the names of the listeners by their index, "" the main one.
type doors []string

// name returns the name of a listener, "" of the main one.
func (d doors) name(listener int) string {
	if listener < len(d) {
		return d[listener]
	}
	return ""
}

func (o *Options) listeners() ([]remoting.NamedAddr, error) {
	all, err := remoting.ParseListeners(o.Listeners, o.BindAddress)
	if err != nil {
		return nil, fmt.Errorf("listeners=%s: %w", o.Listeners, err)
	}
	return all, nil
}

// listenOn returns the addresses to listen on, the main one first, and notes their names.
func (s *Server) listenOn(listeners []remoting.NamedAddr) []string {
	addrs := []string{net.JoinHostPort(s.opts.BindAddress, strconv.Itoa(s.opts.ListenPort))}
	s.routes.doors = doors{""}
	for _, l := range listeners {
		addrs = append(addrs, l.Addr)
		s.routes.doors = append(s.routes.doors, l.Name)
	}
	return addrs
}

func (s *Server) logListeners(listeners []remoting.NamedAddr) {
	for _, l := range listeners {
		s.log.Info("clients that come through this listener are given the addresses that brokers advertise under its name", "listener", l.Name, "addr", l.Addr)
	}
}

// addrLocked returns a broker's address for who came through a listener.
func (r *routes) addrLocked(cluster, addr, listener string) string {
	if listener == "" {
		return addr
	}
	if l := r.lives[brokerAddr{cluster, addr}]; l != nil && l.advertised[listener] != "" {
		return l.advertised[listener]
	}
	return addr
}

// addressLocked puts the addresses for who came through a listener in the place of the plain ones.
func (r *routes) addressLocked(cluster string, addrs map[int64]string, listener string) {
	if listener == "" {
		return
	}
	for id, addr := range addrs {
		addrs[id] = r.addrLocked(cluster, addr, listener)
	}
}

// routeAddressesLocked does so in a route.
func (r *routes) routeAddressesLocked(route *codec.TopicRouteData, listener string) {
	if listener == "" {
		return
	}
	for _, b := range route.BrokerDatas {
		for _, addr := range b.BrokerAddrs {
			filters, ok := route.FilterServerTable[addr]
			if now := r.addrLocked(b.Cluster, addr, listener); ok && now != addr {
				delete(route.FilterServerTable, addr)
				route.FilterServerTable[now] = filters
			}
		}
		r.addressLocked(b.Cluster, b.BrokerAddrs, listener)
	}
}
