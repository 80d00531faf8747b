package compat

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// matrixRow finds a code, its name and what MATRIX.md says of it.
var matrixRow = regexp.MustCompile(`^\| (\d+) \| ([A-Z_0-9]+) \| (done|partly|not) \| (.*) \|$`)

// TestMatrixIsTrue asks our servers every request code of MATRIX.md, with nothing in the request: a code that is served gets any
// answer but 3, one that is not gets 3 with Java's remark and has a reason in the table.
func TestMatrixIsTrue(t *testing.T) {
	if needTarget(t) == Apache {
		t.Skip("MATRIX.md speaks of our servers")
	}
	target := onOwn(t)
	text, err := os.ReadFile("MATRIX.md")
	require.NoError(t, err)
	addrs := map[string]string{"## Name server": target.Namesrv(), "## Broker": target.Broker()}
	var addr string
	asked := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "## ") {
			addr = addrs[line]
			continue
		}
		row := matrixRow.FindStringSubmatch(line)
		if row == nil || addr == "" {
			continue
		}
		asked++
		code, err := strconv.Atoi(row[1])
		require.NoError(t, err)
		t.Run(row[2], func(t *testing.T) {
			answer, err := callOnce(addr, code, nil, nil)
			require.NoError(t, err)
			if row[3] != "not" {
				require.NotEqual(t, resNotSupported, answer.Code, answer.Remark)
				return
			}
			require.Equal(t, resNotSupported, answer.Code, answer.Remark)
			require.Equal(t, " request type "+row[1]+" not supported", answer.Remark)
			require.NotEmpty(t, strings.TrimSpace(row[4]), "a code that is not served needs its reason")
		})
	}
	require.Greater(t, asked, 100)
}
