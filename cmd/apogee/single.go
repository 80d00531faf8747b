package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/broker"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/namesrv"
)

// namesrvCommand takes Apache's flags of mqnamesrv.
func namesrvCommand() *cobra.Command {
	var f logFlags
	var set setFlags
	var conf string
	var print bool
	cmd := &cobra.Command{
		Use:   "namesrv",
		Short: "Run a name server, as Apache's mqnamesrv",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := f.logger()
			if err != nil {
				return err
			}
			opts := namesrv.DefaultOptions()
			opts.Logger = log
			if conf != "" {
				if err := opts.Load(conf); err != nil {
					return startError{err}
				}
			}
			if err := set.apply(opts.Apply); err != nil {
				return err
			}
			f.namesrv(cmd, &opts)
			if print {
				fmt.Fprint(cmd.OutOrStdout(), opts.PrintText())
				return nil
			}
			return serveNamesrv(cmd, opts, log)
		},
	}
	f.add(cmd)
	set.add(cmd)
	cmd.Flags().StringVarP(&conf, "configFile", "c", "", "namesrv.conf with Apache's keys")
	cmd.Flags().BoolVarP(&print, "printConfigItem", "p", false, "print the configuration and exit")
	return cmd
}

func serveNamesrv(cmd *cobra.Command, opts namesrv.Options, log *slog.Logger) error {
	boundHeap(log)
	started := time.Now()
	ns, err := namesrv.Open(opts)
	if err != nil {
		return startError{err}
	}
	return serveUntilStopped(cmd, log, banner{started: started, namesrv: ns.Addr()}, ns.Close)
}

// brokerCommand takes Apache's flags of mqbroker.
func brokerCommand() *cobra.Command {
	var f logFlags
	var set setFlags
	var conf, namesrvs string
	var print, printImportant bool
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a broker, as Apache's mqbroker",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := f.logger()
			if err != nil {
				return err
			}
			cfg := broker.DefaultConfig()
			if conf != "" {
				if err := cfg.Load(conf, log); err != nil {
					return startError{err}
				}
			}
			load := func(source string, settings []codec.Setting) error { return cfg.Apply(source, settings, log) }
			if err := set.apply(load); err != nil {
				return err
			}
			f.broker(cmd, &cfg)
			if namesrvs != "" {
				cfg.NamesrvAddrs = namesrvs
			}
			switch {
			case print:
				fmt.Fprint(cmd.OutOrStdout(), cfg.Text())
				return nil
			case printImportant:
				fmt.Fprint(cmd.OutOrStdout(), cfg.ImportantText())
				return nil
			}
			return serveBroker(cmd, cfg, log)
		},
	}
	f.add(cmd)
	set.add(cmd)
	cmd.Flags().StringVarP(&conf, "configFile", "c", "", "broker.conf with Apache's keys")
	cmd.Flags().StringVarP(&namesrvs, "namesrvAddr", "n", "", "name servers, separated by \";\"")
	cmd.Flags().BoolVarP(&print, "printConfigItem", "p", false, "print the configuration and exit")
	cmd.Flags().BoolVarP(&printImportant, "printImportantConfig", "m", false, "print the important part of the configuration and exit")
	return cmd
}

func serveBroker(cmd *cobra.Command, cfg broker.Config, log *slog.Logger) error {
	boundHeap(log)
	spareProcessor(&cfg, log)
	started := time.Now()
	if cfg.NamesrvAddrs == "" && !cfg.Finding.ByAddressServer {
		log.Warn("no name server is set, clients will not find this broker; use -n, NAMESRV_ADDR or namesrvAddr")
	}
	b, err := broker.Open(cfg, log)
	if err != nil {
		return startError{err}
	}
	ready := banner{started: started, broker: b, data: cfg.StoreRoot, namesrvs: cfg.NamesrvAddrs}
	return serveUntilStopped(cmd, log, ready, b.Close)
}

// joinNamesrvs puts the name server of this process first in the list, once.
func joinNamesrvs(bind string, port int, others string) string {
	host := bind
	if ip, err := netip.ParseAddr(bind); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	list := []string{net.JoinHostPort(host, strconv.Itoa(port))}
	for _, addr := range strings.Split(others, ";") {
		if addr = strings.TrimSpace(addr); addr != "" && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return strings.Join(list, ";")
}
