package codec

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type settingsUnderTest struct {
	name, mode    string
	port          int
	limit         int32
	on            bool
	period, pause time.Duration
}

var settingsTable = SettingKeys[settingsUnderTest]{
	"name":   TextKey(func(c *settingsUnderTest) *string { return &c.name }),
	"mode":   OneOfKey(func(c *settingsUnderTest) *string { return &c.mode }, "A", "B"),
	"port":   NumberKey(func(c *settingsUnderTest) *int { return &c.port }, 0, 65535),
	"limit":  LiveKey(NumberKey(func(c *settingsUnderTest) *int32 { return &c.limit }, 1, 1<<31-1)),
	"on":     BoolKey(func(c *settingsUnderTest) *bool { return &c.on }),
	"period": DurationKey(func(c *settingsUnderTest) *time.Duration { return &c.period }, time.Millisecond, time.Millisecond),
	"pause":  DurationKey(func(c *settingsUnderTest) *time.Duration { return &c.pause }, time.Second, 0),
}

func TestSettingsAreReadAndPrinted(t *testing.T) {
	t.Parallel()
	const text = "limit=7\nmode=B\nname=a b\non=true\npause=0\nperiod=50\nport=9\n"
	var got settingsUnderTest
	others, err := settingsTable.Load(&got, "x.conf", []byte(text+"# none of ours\nextra=1\n"))
	require.NoError(t, err)
	require.Equal(t, []Setting{{Key: "extra", Value: "1", Line: 9}}, others)
	require.Equal(t, settingsUnderTest{name: "a b", mode: "B", port: 9, limit: 7, on: true, period: 50 * time.Millisecond}, got)
	require.Equal(t, text, SettingsText(settingsTable.Values(&got)))
	require.True(t, settingsTable["limit"].Live)
	require.False(t, settingsTable["port"].Live)
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"mode=C":                     "x.conf:2: mode=C: want one of [A B]",
		"port=65536":                 "x.conf:2: port=65536: want a whole number from 0 to 65535",
		"limit=2147483648":           "x.conf:2: limit=2147483648: want a whole number from 1 to 2147483647",
		"limit=1.5":                  "x.conf:2: limit=1.5: want a whole number from 1 to 2147483647",
		"on=1 0":                     "x.conf:2: on=1 0: want true or false",
		"period=0":                   "x.conf:2: period=0: want a number of milliseconds, at least 1",
		"period=9223372036854775807": "x.conf:2: period=9223372036854775807: want a number of milliseconds, at least 1",
		"pause=-1":                   "x.conf:2: pause=-1: want a number of seconds, not negative",
		`pause=\u00`:                 "x.conf: read settings: ",
	} {
		var c settingsUnderTest
		_, err := settingsTable.Load(&c, "x.conf", []byte("\n"+line))
		require.ErrorContains(t, err, want)
		require.Zero(t, c)
	}
}

func TestSettingsUpdate(t *testing.T) {
	t.Parallel()
	mayChange := func(key string) error {
		if key == "port" {
			return ErrBlackList
		}
		return nil
	}
	var c settingsUnderTest
	taken, others, err := settingsTable.Update(&c, []byte("limit=3\nextra=1\non=TRUE\n"), mayChange)
	require.NoError(t, err)
	require.Equal(t, []Setting{{"limit", "3", 1}, {"on", "TRUE", 3}}, taken)
	require.Equal(t, []Setting{{"extra", "1", 2}}, others)
	require.Equal(t, settingsUnderTest{limit: 3, on: true}, c)

	var refusal *Refusal
	_, _, err = settingsTable.Update(&c, []byte("on=false\nport=1\n"), mayChange)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, NoPermission, refusal.Code)
	for name, text := range map[string]string{
		"a second line in a value":               `name=a\nport=1`,
		"one that comes with the second reading": `name=a\\nport=1`,
		"the same in a key that is kept":         `extra=a\\nport=1`,
		"a continued line":                       `name=a\\`,
		"a bad value":                            "limit=0",
		"no settings":                            `name=\u00`,
	} {
		_, _, err = settingsTable.Update(&c, []byte(text), mayChange)
		require.Error(t, err, name)
	}
	require.Empty(t, c.name)
}

func TestReplaceSettings(t *testing.T) {
	t.Parallel()
	got, err := ReplaceSettings([]byte("# kept\nport = 1\nname=a\n\n# end"), []Setting{{Key: "port", Value: "2"}, {Key: "on", Value: "true"}})
	require.NoError(t, err)
	require.Equal(t, "# kept\nport=2\nname=a\n\n# end\non=true\n", string(got))
	_, err = ReplaceSettings([]byte(`name=\u00`), nil)
	require.Error(t, err)
}
