package compat

import (
	"strings"
	"testing"
)

// TestJavaDelayLevels sends with all 18 delay levels, of a broker whose levels are short, and with two that it does not have.
func TestJavaDelayLevels(t *testing.T) {
	needJava(t)
	tg := onOwn(t, WithConf("messageDelayLevel", strings.TrimSpace(strings.Repeat("1s 2s 3s 4s 5s 6s ", 3))))
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) { requireJava(t, tg, version, "--scenario", "delay-all-levels") })
	}
}
