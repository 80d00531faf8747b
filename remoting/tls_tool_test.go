package remoting

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// A tool uses TLS when Java's properties in the environment say so.
func TestToolsUseTLSByEnvironment(t *testing.T) {
	s := serveTLS(t, TLSEnforcing, nil, nil)
	call := func() error {
		opts := DefaultClientOptions()
		require.NoError(t, opts.UseTLS(TLSSettings{}))
		cl := NewClient(opts)
		defer cl.Close()
		_, err := cl.Call(context.Background(), s.Addrs()[0].String(), &codec.Command{Code: codeEcho})
		return err
	}
	require.Error(t, call())
	t.Setenv("JAVA_OPT", "-Xmx1g -Dtls.enable=true")
	require.NoError(t, call())
	t.Setenv("JAVA_OPT_EXT", "-Dtls.client.certPath=/nothing -Dtls.test.mode.enable=false")
	opts := DefaultClientOptions()
	require.ErrorContains(t, opts.UseTLS(TLSSettings{}), "/nothing")
}
