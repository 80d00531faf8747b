package namesrv

import (
	"fmt"
	"log/slog"
	"maps"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// NetOptions say how the name server is reached. They have keys in namesrv.conf that NamesrvConfig and NettyServerConfig do not
// have, so GET_NAMESRV_CONFIG does not show them and no request changes any but LogLevel.
type NetOptions struct {
	// TLS has the settings of Apache's TlsSystemConfig.
	TLS remoting.TLSSettings
	// HTTP is where metrics and health are served.
	HTTP HTTPOptions
	// ProxySources is from whom a PROXY header is believed, as remoting.ParseProxySources reads it. The default is "private".
	ProxySources string
	// Listeners are further addresses to listen on, as remoting.ParseListeners reads them. Who comes through one of them is given the
	// addresses that brokers advertise under its name. The default is none.
	Listeners string
	// Nsaddr is where clients ask for the list of name servers.
	Nsaddr NsaddrOptions
	// LogLevel is debug, info, warn or error, which requests may change; empty leaves Level as it is. Level, if set, is what the log obeys.
	LogLevel string
	Level    *slog.LevelVar
}

func defaultNetOptions() NetOptions {
	return NetOptions{HTTP: defaultHTTPOptions(), ProxySources: "private"}
}

// netKeys are the keys of NetOptions and Apogee's other own ones.
var netKeys = withTLSKeys(codec.SettingKeys[Options]{
	"proxyProtocolSources":    codec.TextKey(func(o *Options) *string { return &o.ProxySources }),
	"metricsExporterType":     codec.OneOfKey(func(o *Options) *string { return &o.HTTP.Exporter }, "DISABLE", exporterProm),
	"metricsPromExporterHost": codec.TextKey(func(o *Options) *string { return &o.HTTP.Host }),
	"metricsPromExporterPort": codec.NumberKey(func(o *Options) *int { return &o.HTTP.Port }, 0, 65535),
	"keepRoutesEnable":        codec.BoolKey(func(o *Options) *bool { return &o.KeepRoutes }),
	"listeners":               codec.TextKey(func(o *Options) *string { return &o.Listeners }),
	"nsaddrPort":              codec.NumberKey(func(o *Options) *int { return &o.Nsaddr.Port }, 0, 65535),
	"nsaddrList":              codec.TextKey(func(o *Options) *string { return &o.Nsaddr.List }),
	"pprofEnable":             codec.BoolKey(func(o *Options) *bool { return &o.HTTP.Pprof }),
	"logLevel":                codec.LiveKey(codec.OneOfKey(func(o *Options) *string { return &o.LogLevel }, "", "debug", "info", "warn", "error")),
})

// updateKeys are those that a request may name: Apache's, and of Apogee's own those that change at run time.
func updateKeys() codec.SettingKeys[Options] {
	all := maps.Clone(keys)
	for name, key := range netKeys {
		if key.Live {
			all[name] = key
		}
	}
	return all
}

// applyLogLevel makes the log obey LogLevel.
func (o *Options) applyLogLevel() {
	if o.Level == nil || o.LogLevel == "" {
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err == nil {
		o.Level.Set(level)
	}
}

// withTLSKeys adds the keys of TLS. What the keys are given is remembered, as passwords are not printed.
func withTLSKeys(keys codec.SettingKeys[Options]) codec.SettingKeys[Options] {
	maps.Copy(keys, remoting.TLSKeys(func(o *Options) *remoting.TLSSettings { return &o.TLS }))
	for name, key := range keys {
		set := key.Set
		key.Set = func(o *Options, v string) error {
			if err := set(o, v); err != nil {
				return err
			}
			o.given = maps.Clone(o.given)
			if o.given == nil {
				o.given = make(map[string]string)
			}
			o.given[name] = v
			return nil
		}
		keys[name] = key
	}
	return keys
}

// PrintText returns Text and the keys that GET_NAMESRV_CONFIG does not show.
func (o *Options) PrintText() string { return o.Text() + codec.SettingsText(netKeys.Values(o)) }

// serveNet puts the options into those of the server.
func (o *Options) serveNet(serve *remoting.Options) (err error) {
	opts, err := o.TLS.Options()
	if err != nil {
		return err
	}
	if serve.TLS, err = remoting.OpenTLS(opts, o.Logger); err != nil {
		return err
	}
	if serve.ProxySources, err = remoting.ParseProxySources(o.ProxySources); err != nil {
		return fmt.Errorf("proxyProtocolSources=%s: %w", o.ProxySources, err)
	}
	return nil
}
