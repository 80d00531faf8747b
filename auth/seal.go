package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sealKeyBytes is the length of the key, on disk as hexadecimal digits, do not change.
const sealKeyBytes = 32

// seal encrypts secrets for the file. HMAC needs the secret itself, so it cannot be hashed: who can read both the file and the
// key reads the secrets.
type seal struct{ aead cipher.AEAD }

// openSeal reads the key; when there is none, mayCreate makes one, readable by nobody else.
func openSeal(path string, mayCreate bool) (*seal, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mayCreate:
		key := make([]byte, sealKeyBytes)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make the key of the secrets: %w", err)
		}
		text = []byte(hex.EncodeToString(key) + "\n")
		if err := replaceSecretFile(path, text); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing, and without that key the users' secrets cannot be read; put it back, or remove %s and create the users again",
			path, fileName)
	case err != nil:
		return nil, fmt.Errorf("read the key of the secrets: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != sealKeyBytes {
		return nil, fmt.Errorf("%s is no key: want %d hexadecimal digits", path, 2*sealKeyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of the secrets: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key of the secrets: %w", err)
	}
	return &seal{aead}, nil
}

// close encrypts a user's secret.
func (s *seal) close(user string, secret []byte) (string, error) {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(secret)+s.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("encrypt the secret of %s: %w", user, err)
	}
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, secret, []byte(user))), nil
}

// open decrypts what close made.
func (s *seal) open(user, sealed string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(b) < s.aead.NonceSize() {
		return nil, fmt.Errorf("the secret of user %s is no text that was encrypted here", user)
	}
	secret, err := s.aead.Open(nil, b[:s.aead.NonceSize()], b[s.aead.NonceSize():], []byte(user))
	if err != nil {
		return nil, fmt.Errorf("the secret of user %s was encrypted with another key, or is damaged", user)
	}
	return secret, nil
}

// replaceSecretFile writes a file that nobody else may read, so that a crash leaves the old or the new one.
func replaceSecretFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
