package codec

import "fmt"

// The numbers of versions are places in Java's list of them, two for each from 4.0.0 on: the snapshot and the release.
const firstOfVersion4 = 212

// VersionName returns Java's name of a version of the protocol, as V5_4_0. Those before 4.0.0 are called by their number. Apache:
// MQVersion.
func VersionName(version int32) string {
	if version < firstOfVersion4 {
		return fmt.Sprintf("V%d", version)
	}
	n, suffix := (version-firstOfVersion4)/2, ""
	if (version-firstOfVersion4)%2 == 0 {
		suffix = "_SNAPSHOT"
	}
	return fmt.Sprintf("V%d_%d_%d%s", 4+n/100, n/10%10, n%10, suffix)
}
