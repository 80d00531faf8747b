package broker

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write CONFIG.md anew")

// TestConfigPage holds CONFIG.md against the tables. After a key was added: go test ./broker -run TestConfigPage -update
func TestConfigPage(t *testing.T) {
	t.Parallel()
	const path = "CONFIG.md"
	want := configPage()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, want == string(got), "CONFIG.md is old; write it with -update")
}

const configIntro = `# Keys of broker.conf

Made from ` + "`config_keys.go` and `javakeys.tsv`" + ` by ` + "`go test ./broker -run TestConfigPage -update`" + `. Every key that Apache's broker 5.5.0 knows is
here once: it has an effect, or it has none for the reason that is given.

- A file may hold any of them. A key that nobody knows is a warning with its line; so is a key marked *warned* when it is set to another
  value than Apache's default. A value of the wrong type stops the start, even where it would have no effect.
- ` + "`getBrokerConfig` and `-p`" + ` show all keys that Apache 5.4.0 shows, ` + "`-m`" + ` those that Apache calls important.
- ` + "`updateBrokerConfig`" + ` takes the keys marked *running*, and numbers and switches without effect, which it keeps and shows. It takes no
  path, class, command or address, whatever the key, and of several keys all or none (CVE-2023-33246).

`

func configPage() string {
	var b strings.Builder
	b.WriteString(configIntro)
	cfg := DefaultConfig()
	cfg.IP1, cfg.Name, cfg.StoreRoot, cfg.NamesrvAddrs = "", "", "", ""
	all := javaKeys()
	rows := func(want func(name string) bool) {
		b.WriteString("| key | default | changes |\n|---|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(keyTable)) {
			if !want(name) {
				continue
			}
			changes := "at the start"
			if keyTable[name].Live {
				changes = "running"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, code(keyTable[name].Get(&cfg)), changes)
		}
	}
	b.WriteString("## Apache's keys that have an effect\n\n")
	rows(func(name string) bool { return all[name].name != "" || oldSpellings[name] })
	b.WriteString("\n## Apogee's own keys\n\n")
	rows(func(name string) bool { return all[name].name == "" && !oldSpellings[name] })
	b.WriteString("\n## Apache's keys without effect\n")
	for _, reason := range slices.Sorted(maps.Keys(whyNoEffect)) {
		var names []string
		for name, k := range all {
			if _, effective := keyTable[name]; !effective && k.reason == reason {
				names = append(names, "`"+name+"`")
			}
		}
		if len(names) == 0 {
			continue
		}
		slices.Sort(names)
		loud := ""
		if whyNoEffect[reason].loud {
			loud = " (warned)"
		}
		fmt.Fprintf(&b, "\n### %s%s\n\nWhy: %s.\n\n%s\n", reason, loud, whyNoEffect[reason].text, strings.Join(names, ", "))
	}
	return b.String()
}

func code(value string) string {
	if value == "" {
		return ""
	}
	return "`" + value + "`"
}
