package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"slices"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// The extFields of a signed request. Apache: SessionCredentials.
const (
	fieldAccessKey     = "AccessKey"
	fieldSignature     = "Signature"
	fieldSecurityToken = "SecurityToken"
)

const (
	// uniqueKeyField is not signed by senders up to V4_9_3. Apache: MixAll.UNIQUE_MSG_QUERY_FLAG.
	uniqueKeyField = "_UNIQUE_KEY_QUERY"
	version493     = 399
	// keepFields is the longest list of fields that a content keeps for the next request.
	keepFields = 256
	// signatureBytes is the length of a signature: 20 bytes in base 64.
	signatureBytes = 28
)

// content gathers what is signed of a request: the values of all extFields but the signature in the order of their keys, then
// the body. It is used again for the next request and allocates nothing then.
type content struct {
	fields []signedField
	sum    [sha1.Size]byte
	text   [signatureBytes]byte
}

type signedField struct{ key, value []byte }

// gather takes the fields of a parsed command. Of a key that stands twice the last counts, as everywhere.
func (t *content) gather(c *codec.Command) {
	t.fields = t.fields[:0]
	for it := c.Fields(); it.Next(); {
		switch string(it.Key) {
		case fieldSignature:
			continue
		case uniqueKeyField:
			if c.Version <= version493 {
				continue
			}
		}
		t.fields = append(t.fields, signedField{it.Key, it.Value})
	}
	slices.SortStableFunc(t.fields, func(a, b signedField) int { return bytes.Compare(a.key, b.key) })
}

// forget drops what points into the request.
func (t *content) forget() {
	clear(t.fields)
	if t.fields = t.fields[:0]; cap(t.fields) > keepFields {
		t.fields = nil
	}
}

// sign returns the signature of what was gathered and a body; it is valid until the next call.
func (t *content) sign(mac hash.Hash, body []byte) []byte {
	mac.Reset()
	for i := range t.fields {
		if i+1 < len(t.fields) && bytes.Equal(t.fields[i].key, t.fields[i+1].key) {
			continue
		}
		mac.Write(t.fields[i].value)
	}
	mac.Write(body)
	base64.StdEncoding.Encode(t.text[:], mac.Sum(t.sum[:0]))
	return t.text[:]
}

// macs are the hashes of one secret.
type macs struct{ pool sync.Pool }

func newMACs(secret []byte) *macs {
	key := bytes.Clone(secret)
	return &macs{sync.Pool{New: func() any { return hmac.New(sha1.New, key) }}}
}

// verify reports whether a request bears the signature of the secret. Apache: DefaultAuthenticationHandler, AclSigner.
func (m *macs) verify(t *content, c *codec.Command, signature []byte) bool {
	mac := m.pool.Get().(hash.Hash)
	defer m.pool.Put(mac)
	return subtle.ConstantTimeCompare(t.sign(mac, c.Body), signature) == 1
}

// Signer signs requests with an account's credentials, as Java's AclClientRPCHook does. It may be used by many goroutines.
type Signer struct {
	accessKey, token string
	macs             *macs
}

// NewSigner returns a signer; the security token may be empty.
func NewSigner(accessKey, secretKey, token string) *Signer {
	return &Signer{accessKey: accessKey, token: token, macs: newMACs([]byte(secretKey))}
}

// Sign adds the credentials' fields to a request that is about to be sent. A request that bears them already gets them anew.
func (s *Signer) Sign(c *codec.Command) error {
	extra := slices.DeleteFunc(slices.Clone(c.Extra), func(f codec.Field) bool {
		return f.Key == fieldAccessKey || f.Key == fieldSignature || f.Key == fieldSecurityToken
	})
	extra = append(extra, codec.Field{Key: fieldAccessKey, Value: s.accessKey})
	if s.token != "" {
		extra = append(extra, codec.Field{Key: fieldSecurityToken, Value: s.token})
	}
	// The fields are those that the other side will read, so they are read from the frame.
	head := *c
	head.Extra, head.Body, head.Parts, head.Owner = extra, nil, nil, nil
	var read codec.Command
	if err := codec.ParseFrame(codec.AppendFrame(nil, &head), &read); err != nil {
		return err
	}
	body := c.Body
	if len(c.Parts) > 0 {
		body = bytes.Join(c.Parts, nil)
	}
	var t content
	t.gather(&read)
	mac := s.macs.pool.Get().(hash.Hash)
	defer s.macs.pool.Put(mac)
	c.Extra = append(extra, codec.Field{Key: fieldSignature, Value: string(t.sign(mac, body))})
	return nil
}
