package compat

import "testing"

// TestJavaTransactions runs the transaction scenarios with a broker that asks soon.
func TestJavaTransactions(t *testing.T) {
	needJava(t)
	tg := onOwn(t, withQuickChecks("1000")...)
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			requireJava(t, tg, version, "--scenario",
				"transaction-decided,transaction-checked,transaction-listener-throws,transaction-other-producer,transaction-delayed")
		})
	}
}
