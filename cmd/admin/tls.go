package admin

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/apogee-mq/apogee/remoting"
)

// useTLS has the client use TLS when the options, JAVA_OPT or the file of tls.config.file ask for it. Apache: -Dtls.enable=true.
func useTLS(f *pflag.FlagSet, opts *remoting.ClientOptions) error {
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
			return fmt.Errorf("TLS: %s: %w", key, err)
		}
	}
	if err := opts.UseTLS(settings); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}
