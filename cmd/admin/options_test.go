package admin

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// apacheCommand is a command as Apache's mqadmin 5.5.0 declares it: testdata/options.tsv was printed by its own classes.
type apacheCommand struct {
	alias   string
	options map[string]apacheOption // by long name
	groups  [][]string              // short names, one of which has to be given
}

type apacheOption struct {
	letters         string
	value, required bool
}

// longNames are Apache's long names which no shell can take as they stand.
var longNames = map[string]string{"print msg": "printMsg", "print log": "printLog", "machine room": "machineRoom"}

func apacheCommands(t *testing.T) map[string]*apacheCommand {
	t.Helper()
	file, err := os.ReadFile("testdata/options.tsv")
	require.NoError(t, err)
	all := map[string]*apacheCommand{}
	for line := range strings.Lines(string(file)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		switch f[0] {
		case "command":
			all[f[1]] = &apacheCommand{alias: f[2], options: map[string]apacheOption{}}
		case "option":
			name := f[3]
			if ours := longNames[name]; ours != "" {
				name = ours
			}
			all[f[1]].options[name] = apacheOption{f[2], f[4] == "value", f[5] == "required"}
		case "group":
			all[f[1]].groups = append(all[f[1]].groups, strings.Split(strings.Trim(f[2], "[]"), ", "))
		}
	}
	require.Len(t, all, 96)
	return all
}

func TestOptionsAreApaches(t *testing.T) {
	t.Parallel()
	apache := apacheCommands(t)
	seen := map[string]bool{}
	for _, f := range families() {
		for _, sp := range f.specs {
			require.False(t, seen[sp.name], "%s stands twice", sp.name)
			seen[sp.name] = true
			theirs := apache[sp.name]
			require.NotNil(t, theirs, "Apache has no command %s", sp.name)
			require.Equal(t, theirs.alias, sp.alias, sp.name)
			ours := map[string]apacheOption{}
			for _, o := range sp.options {
				ours[o.name] = apacheOption{o.letters, o.kind != kindSwitch, o.required}
			}
			require.Equal(t, theirs.options, ours, sp.name)
			for _, group := range theirs.groups {
				require.True(t, slices.ContainsFunc(slices.Concat(sp.oneOf, sp.anyOf), func(names []string) bool {
					letters := make([]string, len(names))
					for i, name := range names {
						letters[i] = sp.find(name).letters
					}
					return sameSet(group, letters)
				}), "%s has no group %v", sp.name, group)
			}
		}
	}
	for name := range apache {
		require.True(t, seen[name], "%s is missing", name)
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
