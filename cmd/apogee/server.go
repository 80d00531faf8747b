package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/broker"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/namesrv"
)

// stopTimeout is how long a stop may take.
const stopTimeout = 10 * time.Second

// serverFlags are the flags of `apogee server`.
type serverFlags struct {
	logFlags
	set                       setFlags
	conf, data                string
	namesrvListeners          string
	namesrvPort, listenOnPort int
}

func serverCommand() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run name server and broker in one process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := f.logger()
			if err != nil {
				return err
			}
			return f.serve(cmd, log)
		},
	}
	f.add(cmd)
	f.set.add(cmd)
	cmd.Flags().StringVarP(&f.conf, "configFile", "c", "", "broker.conf with Apache's keys")
	cmd.Flags().StringVar(&f.data, "data", "apogee-data", "folder for everything that is kept (storePathRootDir)")
	cmd.Flags().IntVar(&f.namesrvPort, "namesrv-port", 9876, "port of the name server")
	cmd.Flags().StringVar(&f.namesrvListeners, "namesrv-listeners", "", "further ports of the name server, NAME=PORT;NAME=HOST:PORT: who comes through one is given what advertisedAddrs has under its name")
	cmd.Flags().IntVar(&f.listenOnPort, "broker-port", 10911, "port of the broker (listenPort); the VIP port is two below it")
	return cmd
}

func (f *serverFlags) serve(cmd *cobra.Command, log *slog.Logger) error {
	boundHeap(log)
	started := time.Now()
	cfg, err := f.brokerConfig(cmd, log)
	if err != nil {
		return err
	}
	spareProcessor(&cfg, log)
	opts := namesrv.DefaultOptions()
	opts.BindAddress, opts.ListenPort, opts.Logger = cfg.BindAddress, f.namesrvPort, log
	opts.TLS, opts.ProxySources, opts.Listeners = cfg.TLS, cfg.ProxySources, f.namesrvListeners
	opts.OpenIsSaid = true // by the broker
	opts.Level = &f.now
	opts.KVConfigPath = filepath.Join(cfg.StoreRoot, "namesrv", "kvConfig.json")
	opts.ConfigStorePath = filepath.Join(cfg.StoreRoot, "namesrv", "namesrv.properties")
	if cfg.Auth.Authentication {
		if cfg.Auth.InnerSigner() == nil {
			return startError{errors.New(`authenticationEnabled=true: the broker signs its registration at the name server of this process; set innerClientAuthenticationCredentials={"accessKey":"…","secretKey":"…"}`)}
		}
		var shared auth.Shared
		opts.Check, cfg.OnGuard = shared.Check, shared.Set
	}
	ns, err := namesrv.Open(opts)
	if err != nil {
		return startError{err}
	}
	cfg.HTTP.Collectors = append(cfg.HTTP.Collectors, ns.Collector())
	b, err := broker.Open(cfg, log)
	if err != nil {
		return startError{errors.Join(err, closeWithin(ns.Close))}
	}
	ready := banner{started: started, namesrv: ns.Addr(), broker: b, data: cfg.StoreRoot}
	// The broker is closed first: it tells the name server that it goes.
	return serveUntilStopped(cmd, log, ready, b.Close, ns.Close)
}

// brokerConfig applies defaults, file and flags, in this order. The broker registers at the name server of this process and
// at those that the file names.
func (f *serverFlags) brokerConfig(cmd *cobra.Command, log *slog.Logger) (broker.Config, error) {
	cfg := broker.DefaultConfig()
	cfg.NamesrvAddrs, cfg.StoreRoot, cfg.ListenPort = "", f.data, f.listenOnPort
	cfg.HTTP.Exporter, cfg.HTTP.Optional = "PROM", true
	if f.conf != "" {
		if err := cfg.Load(f.conf, log); err != nil {
			return cfg, startError{err}
		}
	}
	load := func(source string, settings []codec.Setting) error { return cfg.Apply(source, settings, log) }
	if err := f.set.apply(load); err != nil {
		return cfg, err
	}
	f.logFlags.broker(cmd, &cfg)
	if cmd.Flags().Changed("data") {
		cfg.StoreRoot, cfg.CommitLogDir = f.data, ""
	}
	if cmd.Flags().Changed("broker-port") {
		cfg.ListenPort = f.listenOnPort
	}
	cfg.Finding.Own = joinNamesrvs(cfg.BindAddress, f.namesrvPort, "")
	cfg.NamesrvAddrs = joinNamesrvs(cfg.BindAddress, f.namesrvPort, cfg.NamesrvAddrs)
	return cfg, nil
}

// serveUntilStopped says that all is ready, waits for the command's context to end and closes, in this order.
func serveUntilStopped(cmd *cobra.Command, log *slog.Logger, ready banner, closings ...func(context.Context) error) error {
	ready.print(cmd.OutOrStdout())
	<-cmd.Context().Done()
	log.Info("stopping")
	var errs []error
	for _, closing := range closings {
		errs = append(errs, closeWithin(closing))
	}
	if err := errors.Join(errs...); err != nil {
		return startError{err}
	}
	return nil
}

// closeWithin closes with the time that a stop may take.
func closeWithin(closing func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return closing(ctx)
}
