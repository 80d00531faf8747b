package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/codec"
)

// envPrefix begins the name of an environment variable whose rest is a key of broker.conf or namesrv.conf, such as
// APOGEE_brokerIP1.
const envPrefix = "APOGEE_"

// setFlags are settings given on the command line; they win over the environment, which wins over the file.
type setFlags struct{ sets []string }

func (f *setFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.sets, "set", "D", nil, "key=value of the configuration file, may be repeated, as -Dtls.server.mode=enforcing; wins over the file and over "+envPrefix+"key in the environment")
}

// apply hands the settings of the environment, then those of the command line to load.
func (f *setFlags) apply(load func(source string, settings []codec.Setting) error) error {
	given := make([]codec.Setting, 0, len(f.sets))
	for _, set := range f.sets {
		key, value, ok := strings.Cut(set, "=")
		if !ok || key == "" {
			return fmt.Errorf("--set %q: want key=value", set)
		}
		given = append(given, codec.Setting{Key: key, Value: value})
	}
	if err := load("environment", envSettings(os.Environ())); err != nil {
		return startError{err}
	}
	if err := load("--set", given); err != nil {
		return startError{err}
	}
	return nil
}

// envSettings returns the settings among the variables of an environment, in order of their keys.
func envSettings(environ []string) []codec.Setting {
	var settings []codec.Setting
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if key, ok := strings.CutPrefix(name, envPrefix); ok && key != "" {
			settings = append(settings, codec.Setting{Key: key, Value: value})
		}
	}
	slices.SortFunc(settings, func(a, b codec.Setting) int { return strings.Compare(a.Key, b.Key) })
	return settings
}
