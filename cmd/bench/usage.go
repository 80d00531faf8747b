package bench

// usage is what a server's process used during a run, and its memory at the end.
type usage struct {
	CPUSeconds       float64 `json:"cpuSeconds"`
	MicrosPerMessage float64 `json:"cpuUsPerMessage"`
	ResidentBytes    int64   `json:"residentBytes"`
	AnonymousBytes   int64   `json:"anonymousBytes"`
}

// until is what was used between two readings of a process; nil when one is missing.
func (u *usage) until(after *usage, messages int64) *usage {
	if u == nil || after == nil {
		return nil
	}
	used := *after
	used.CPUSeconds -= u.CPUSeconds
	used.MicrosPerMessage = used.CPUSeconds * 1e6 / float64(max(messages, 1))
	return &used
}
