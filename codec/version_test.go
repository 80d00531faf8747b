package codec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The names are those of Apache's MQVersion.
func TestVersionName(t *testing.T) {
	t.Parallel()
	for version, name := range map[int32]string{
		0: "V0", 212: "V4_0_0_SNAPSHOT", 213: "V4_0_0", 317: "V4_5_2", 409: "V4_9_8", 412: "V5_0_0_SNAPSHOT", 413: "V5_0_0",
		493: "V5_4_0", 513: "V5_5_0", 611: "V5_9_9",
	} {
		require.Equal(t, name, VersionName(version))
	}
	require.Equal(t, "V5_5_0", VersionName(Version))
}
