package broker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGrafanaDashboardAsksForSeriesThatExist holds every expression of the dashboard against the series and labels that a
// broker shows.
func TestGrafanaDashboardAsksForSeriesThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "grafana", "apogee.json"))
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &board))
	labels := map[string]string{}
	for _, f := range families {
		labels[f.name] = f.labels + " cluster node_type node_id le"
	}
	name := regexp.MustCompile(`\b(rocketmq|apogee|process|go)_\w+`)
	selector := regexp.MustCompile(`\b((?:rocketmq|apogee)_\w+)\{([^}]*)\}`)
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			for _, found := range name.FindAllString(target.Expr, -1) {
				asked++
				if strings.HasPrefix(found, "process_") || strings.HasPrefix(found, "go_") {
					continue // client_golang's own collectors
				}
				require.Contains(t, labels, strings.TrimSuffix(found, "_bucket"), "panel %q: %s", p.Title, target.Expr)
			}
			for _, m := range selector.FindAllStringSubmatch(target.Expr, -1) {
				for _, condition := range strings.Split(m[2], ",") {
					label := condition[:strings.IndexAny(condition, "=!")]
					require.Contains(t, strings.Fields(labels[strings.TrimSuffix(m[1], "_bucket")]), label, "panel %q: %s", p.Title, target.Expr)
				}
			}
		}
	}
	require.Greater(t, asked, 30)
}
