package remoting

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseNamedAddrs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       []NamedAddr
		err        string
	}{
		{"none", " ; ", nil, ""},
		{"two", "outside=mq.example.com:30911; lan_2=[fd00::1]:10911", []NamedAddr{{"outside", "mq.example.com:30911"}, {"lan_2", "[fd00::1]:10911"}}, ""},
		{"no name", "mq.example.com:30911", nil, "want NAME=ADDRESS"},
		{"bad name", "out side=h:1", nil, "want NAME=ADDRESS"},
		{"twice", "a=h:1;a=h:2", nil, "a is there twice"},
		{"no port", "a=host", nil, `a: "host" is not HOST:PORT`},
		{"no host", "a=:10911", nil, `a: ":10911" is not HOST:PORT`},
		{"port 0", "a=h:0", nil, `a: "h:0": want a port of 1 to 65535`},
		{"comma", "a=h,i:1", nil, `a: "h,i:1" is not HOST:PORT`},
		{"too many", "a=h:1;b=h:1;c=h:1;d=h:1;e=h:1;f=h:1;g=h:1;h=h:1;i=h:1", nil, "more than 8 entries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseNamedAddrs(tc.text)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestParseListeners(t *testing.T) {
	t.Parallel()
	got, err := ParseListeners("outside=9877;lan=192.168.1.5:9878;six=[::1]:9879", "10.0.0.1")
	require.NoError(t, err)
	require.Equal(t, []NamedAddr{{"outside", "10.0.0.1:9877"}, {"lan", "192.168.1.5:9878"}, {"six", "[::1]:9879"}}, got)
	_, err = ParseListeners("outside=x", "0.0.0.0")
	require.ErrorContains(t, err, `outside: "0.0.0.0:x": want a port of 1 to 65535`)
}
