package broker

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDeployedSettingsHaveAnEffect holds the keys that compose file and chart set against those that do something.
func TestDeployedSettingsHaveAnEffect(t *testing.T) {
	t.Parallel()
	for file, keys := range map[string]*regexp.Regexp{
		"compose.yaml":                      regexp.MustCompile(`(?m)^\s+(\w+)=`),
		"helm/apogee/templates/config.yaml": regexp.MustCompile(`(?m)^    (broker\w+|store\w+|metrics\w+)=`),
		"helm/apogee/templates/broker.yaml": regexp.MustCompile(`APOGEE_(\w+)`),
		"helm/apogee/values.yaml":           regexp.MustCompile(`(?m)^    (\w+): "(?:true|false)"$`),
	} {
		text, err := os.ReadFile(filepath.Join("..", "deploy", file))
		require.NoError(t, err)
		found := keys.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, found, file)
		for _, m := range found {
			require.Contains(t, keyTable, m[1], file)
		}
	}
}
