package namesrv

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func freePort(t testing.TB) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestNsaddrIsServed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, bind, list, method, path string
		code                           int
		want                           string // "" is the server's own address
	}{
		{"the list", "127.0.0.1", "10.0.0.1:9876;ns-2:9876", "GET", "/rocketmq/nsaddr", 200, "10.0.0.1:9876;ns-2:9876"},
		{"of a unit", "127.0.0.1", "10.0.0.1:9876", "GET", "/rocketmq/nsaddr-unit1?nofix=1", 200, "10.0.0.1:9876"},
		{"itself", "127.0.0.1", "", "GET", "/rocketmq/nsaddr", 200, ""},
		{"itself, as it was reached", "0.0.0.0", "", "GET", "/rocketmq/nsaddr", 200, ""},
		{"another group of name servers", "127.0.0.1", "", "GET", "/rocketmq/others", 404, "404 page not found\n"},
		{"a longer name", "127.0.0.1", "", "GET", "/rocketmq/nsaddress", 404, "404 page not found\n"},
		{"below", "127.0.0.1", "", "GET", "/rocketmq/nsaddr/x", 404, "404 page not found\n"},
		{"below a unit", "127.0.0.1", "", "GET", "/rocketmq/nsaddr-u/x", 404, "404 page not found\n"},
		{"another method", "127.0.0.1", "", "POST", "/rocketmq/nsaddr", 405, "only GET is served\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := options(t)
			opts.BindAddress, opts.Nsaddr = tt.bind, NsaddrOptions{Port: freePort(t), List: tt.list}
			s := open(t, opts)
			if tt.want == "" {
				_, port, err := net.SplitHostPort(s.Addr().String())
				require.NoError(t, err)
				tt.want = "127.0.0.1:" + port
			}
			_, port, err := net.SplitHostPort(s.NsaddrAddr().String())
			require.NoError(t, err)
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://127.0.0.1:"+port+tt.path, nil)
			require.NoError(t, err)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, tt.code, resp.StatusCode)
			require.Equal(t, tt.want, string(body))
		})
	}
}

func TestNsaddrListThatIsNone(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"10.0.0.1", "10.0.0.1:9876;", ":9876", "a:b", "a:70000", "a:0", "a:9876,b:9876"} {
		opts := options(t)
		opts.Nsaddr.List = list
		_, err := Open(opts)
		require.ErrorContains(t, err, "nsaddrList="+list)
	}
	opts := options(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	opts.Nsaddr.Port = taken.Addr().(*net.TCPAddr).Port
	_, err = Open(opts)
	require.ErrorContains(t, err, "nsaddrPort")
}
