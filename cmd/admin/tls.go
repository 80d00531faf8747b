package admin

import (
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/apogee-mq/apogee/remoting"
)

// dialer returns dial, with TLS when the options, JAVA_OPT or the file of tls.config.file ask for it. Apache: -Dtls.enable=true.
func dialer(f *pflag.FlagSet, dial remoting.DialFunc) (remoting.DialFunc, error) {
	given := map[string]string{}
	if on, _ := f.GetBool(flagTLS); on {
		given["tls.enable"] = "true"
	}
	if trust, _ := f.GetString(flagTLSTrust); trust != "" {
		given = map[string]string{"tls.enable": "true", "tls.test.mode.enable": "false", "tls.client.authServer": "true",
			"tls.client.trustCertPath": trust}
	}
	var settings remoting.TLSSettings
	for key, value := range given {
		if err := settings.Set(key, value); err != nil {
			return nil, fmt.Errorf("TLS: %s: %w", key, err)
		}
	}
	opts, err := settings.Options()
	if err != nil || !opts.Client {
		return dial, err
	}
	opts.Mode = remoting.TLSDisabled // nobody connects to this process
	t, err := remoting.OpenTLS(opts, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t.Dial(dial), nil
}
