package codec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSettings(t *testing.T) {
	t.Parallel()
	got, err := ParseSettings([]byte("# a comment\nbrokerName = broker-a\n\nlistenPort:10911\nbrokerName=broker-b  \nroot=${HOME}/x\n"))
	require.NoError(t, err)
	require.Equal(t, []Setting{
		{"brokerName", "broker-b", 5}, {"listenPort", "10911", 4}, {"root", "${HOME}/x", 6},
	}, got)

	_, err = ParseSettings([]byte(`bad=\u12`))
	require.Error(t, err)
}
