package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestSettingsOfEnvironmentAndCommandLine(t *testing.T) {
	t.Setenv("APOGEE_brokerName", "from-env")
	t.Setenv("APOGEE_brokerIP1", "10.0.0.1")
	got := map[string]string{}
	load := func(_ string, settings []codec.Setting) error {
		for _, s := range settings {
			got[s.Key] = s.Value
		}
		return nil
	}
	f := setFlags{sets: []string{"brokerName=from-flag", "namesrvAddr=a:1;b:2"}}
	require.NoError(t, f.apply(load))
	require.Equal(t, "from-flag", got["brokerName"], "flags win over the environment")
	require.Equal(t, "10.0.0.1", got["brokerIP1"])
	require.Equal(t, "a:1;b:2", got["namesrvAddr"])

	f = setFlags{sets: []string{"brokerName"}}
	require.ErrorContains(t, f.apply(load), `--set "brokerName": want key=value`)
	f = setFlags{}
	err := f.apply(func(string, []codec.Setting) error { return errors.New("listenPort=x: want a number") })
	require.ErrorAs(t, err, new(startError))
}
