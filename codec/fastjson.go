package codec

import "github.com/json-iterator/go"

// MarshalJSON writes v as fastjson does: keys as the structs declare them, integer map keys bare, object keys raw.
func MarshalJSON(v any) ([]byte, error) { return jsoniter.ConfigDefault.Marshal(v) }

// MarshalStandardJSON writes v as MarshalJSON does but with integer map keys quoted.
func MarshalStandardJSON(v any) ([]byte, error) { return jsoniter.ConfigDefault.Marshal(v) }

// MarshalPrettyJSON writes v as Java's configuration files are: MarshalJSON indented with tabs.
func MarshalPrettyJSON(v any) ([]byte, error) {
	return jsoniter.ConfigDefault.MarshalIndent(v, "", "\t")
}

// UnmarshalJSON reads standard JSON and fastjson's dialect into v; fields that are absent keep Java's defaults.
func UnmarshalJSON(b []byte, v any) error { return jsoniter.ConfigDefault.Unmarshal(b, v) }
