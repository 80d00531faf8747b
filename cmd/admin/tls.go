package admin

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/apogee-mq/apogee/remoting"
)

// useTLS has the client use TLS when the options, JAVA_OPT or the file of tls.config.file ask for it. Apache: -Dtls.enable=true.
func useTLS(f *pflag.FlagSet, opts *remoting.ClientOptions) error {
	on, _ := f.GetBool(flagTLS)
	trust, _ := f.GetString(flagTLSTrust)
	settings, err := remoting.ClientTLS(on, trust)
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	if err := opts.UseTLS(settings); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}
