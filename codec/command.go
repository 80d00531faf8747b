// Package codec holds the bytes of the RocketMQ remoting protocol and of stored messages: frames, headers, JSON bodies
// and message records. It does no I/O and starts no goroutine.
package codec

// Version is the MQVersion ordinal that every command of this server carries: V5_5_0, the newest release whose requests are
// served. Clients gate features on it, none of them on a release after 5.3.1.
const Version int32 = 513

// Language is the language code of a command's sender. Apache: LanguageCode.
type Language uint8

// Languages as they are numbered on the wire.
const (
	LanguageJava Language = iota
	LanguageCPP
	LanguageDotnet
	LanguagePython
	LanguageDelphi
	LanguageErlang
	LanguageRuby
	LanguageOther
	LanguageHTTP
	LanguageGo
	LanguagePHP
	LanguageOMS
	LanguageRust
	LanguageNodeJS
)

// languageNames are Java's enum names.
var languageNames = [...]string{"JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
	"RUST", "NODE_JS"}

// String returns Java's name of the language, OTHER for an unknown number.
func (l Language) String() string {
	if int(l) < len(languageNames) {
		return languageNames[l]
	}
	return languageNames[LanguageOther]
}

// languageByName returns the language of a name, LanguageOther for an unknown one.
func languageByName(name []byte) Language {
	switch string(name) {
	case "JAVA":
		return LanguageJava
	case "GO":
		return LanguageGo
	}
	for i, known := range languageNames {
		if string(name) == known {
			return Language(i)
		}
	}
	return LanguageOther
}

// Serialize says how a command's header is written. Apache: SerializeType.
type Serialize uint8

// The header codecs of the wire, the high byte of a frame's header word.
const (
	SerializeJSON     Serialize = 0
	SerializeRocketMQ Serialize = 1
)

// Flag bits of a command.
const (
	FlagResponse int32 = 1
	FlagOneway   int32 = 2
)

// Field is one extra header field of an outgoing command.
type Field struct{ Key, Value string }

// Releaser gives back what a command's body was borrowed from.
type Releaser interface{ Release() }

// Command is one frame, a request or a response. Apache: RemotingCommand.
//
// A command filled by ParseFrame aliases the frame: Body and the values that Fields yields are valid as long as the
// frame's bytes are. An outgoing command carries its custom header in Header and Extra.
type Command struct {
	Code      int32
	Language  Language
	Version   int32
	Opaque    int32
	Flag      int32
	Remark    string
	Serialize Serialize

	// Header is the custom header to be written as extFields: a pointer to a struct whose fields have `field:"name"` tags,
	// or a FieldAppender. Nil means none.
	Header any
	// Extra is written after Header's fields.
	Extra []Field

	Body []byte
	// Parts is an outgoing body in pieces, written in place of Body. Who sends the command empties it and keeps its room.
	Parts [][]byte
	// Owner, if set, is released once when Parts and Body are no longer needed by the writer.
	Owner Releaser

	fields  []byte      // header of a parsed command as it lies in the frame
	index   []fieldRef  // extFields of a parsed command, in fields or scratch
	scratch []byte      // unescaped keys and values
	writer  FieldWriter // of the encoder, here so that it costs no allocation
}

// IsResponse reports whether the command answers another one.
func (c *Command) IsResponse() bool { return c.Flag&FlagResponse != 0 }

// IsOneway reports whether the sender wants no answer.
func (c *Command) IsOneway() bool { return c.Flag&FlagOneway != 0 }

// Refusal is an error that is answered to the client as Code and Remark.
type Refusal struct {
	Code   int32
	Remark string
	// Header, if set, is sent as the response's custom header (PULL_MESSAGE's forbiddenType).
	Header any
}

// Error returns the remark.
func (r *Refusal) Error() string { return r.Remark }
