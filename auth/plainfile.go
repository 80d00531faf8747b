package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// The files of ACL 1.0 below the home folder.
const (
	plainFile   = "conf/plain_acl.yml"
	plainFolder = "conf/acl"
)

// maxPlainBytes bounds one file.
const maxPlainBytes = 64 << 20

// minKeyLength is the length that the keys of an account have to exceed. Apache: AclConstants.
const minKeyLength = 6

// plainAccount is an account as it stands in a file. Apache: PlainAccessConfig.
type plainAccount struct {
	AccessKey          string   `yaml:"accessKey"`
	SecretKey          string   `yaml:"secretKey"`
	WhiteRemoteAddress string   `yaml:"whiteRemoteAddress"`
	Admin              bool     `yaml:"admin"`
	DefaultTopicPerm   string   `yaml:"defaultTopicPerm"`
	DefaultGroupPerm   string   `yaml:"defaultGroupPerm"`
	TopicPerms         []string `yaml:"topicPerms"`
	GroupPerms         []string `yaml:"groupPerms"`

	line int
}

var accountKeys = []string{"accessKey", "secretKey", "whiteRemoteAddress", "admin", "defaultTopicPerm", "defaultGroupPerm", "topicPerms", "groupPerms"}

// UnmarshalYAML keeps the line for messages.
func (a *plainAccount) UnmarshalYAML(node *yaml.Node) error {
	type bare plainAccount
	if err := node.Decode((*bare)(a)); err != nil {
		return err
	}
	a.line = node.Line
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		if key := node.Content[i]; !slices.Contains(accountKeys, key.Value) {
			return fmt.Errorf("line %d: an account has no key %s", key.Line, key.Value)
		}
	}
	return nil
}

// plainData is one file. Apache: PlainAccessData.
type plainData struct {
	Global      []string       `yaml:"globalWhiteRemoteAddresses"`
	Accounts    []plainAccount `yaml:"accounts"`
	DataVersion any            `yaml:"dataVersion"`
}

// plainFiles lists the files that count: those below conf/acl, then conf/plain_acl.yml.
func plainFiles(home string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(home, plainFolder), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		if ext := filepath.Ext(path); !d.IsDir() && (ext == ".yml" || ext == ".yaml") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the accounts' files: %w", err)
	}
	main := filepath.Join(home, plainFile)
	if _, err := os.Stat(main); err == nil {
		files = append(files, main)
	}
	return files, nil
}

// readPlainFile reads a file; an error names file, line and reason.
func readPlainFile(path string) (*plainData, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPlainBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	if len(text) > maxPlainBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxPlainBytes)
	}
	data := new(plainData)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(data); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// readPlainAccounts returns the accounts of all files, the first of those with the same key.
func readPlainAccounts(home string) ([]plainAccount, error) {
	files, err := plainFiles(home)
	if err != nil {
		return nil, err
	}
	var all []plainAccount
	seen := make(map[string]bool)
	for _, path := range files {
		data, err := readPlainFile(path)
		if err != nil {
			return nil, err
		}
		for _, a := range data.Accounts {
			if !seen[a.AccessKey] {
				seen[a.AccessKey] = true
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// perm is a set of permissions. Apache: Permission.
type perm uint8

const (
	permDeny perm = 1 << iota
	permAny
	permPub
	permSub
)

// parsePerm reads a permission; anything unknown denies.
func parsePerm(text string) perm {
	switch strings.TrimSpace(text) {
	case "PUB":
		return permPub
	case "SUB":
		return permSub
	case "PUB|SUB", "SUB|PUB":
		return permPub | permSub
	}
	return permDeny
}

// unknownPerms are the account's permissions that Java does not know and takes for DENY.
func (a *plainAccount) unknownPerms() (unknown []string) {
	words := []string{a.DefaultTopicPerm, a.DefaultGroupPerm}
	for _, item := range slices.Concat(a.TopicPerms, a.GroupPerms) {
		_, word, _ := strings.Cut(item, "=")
		words = append(words, word)
	}
	for _, word := range words {
		if word = strings.TrimSpace(word); word != "" && word != "DENY" && parsePerm(word) == permDeny {
			unknown = append(unknown, word)
		}
	}
	return unknown
}

// account is an account in force. Apache: PlainAccessResource.
type account struct {
	name                       string
	macs                       *macs
	white                      *addressPattern
	admin                      bool
	defaultTopic, defaultGroup perm
	topics, groups             map[string]perm
}

// compile checks an account as Java does.
func (a *plainAccount) compile() (*account, error) {
	if len(a.AccessKey) <= minKeyLength || len(a.SecretKey) <= minKeyLength {
		return nil, fmt.Errorf("line %d: the accessKey=%s and its secretKey cannot be null and length should longer than 6", a.line, a.AccessKey)
	}
	white, err := parseAddressPattern(a.WhiteRemoteAddress)
	if err != nil {
		return nil, fmt.Errorf("line %d: whiteRemoteAddress of %s: %w", a.line, a.AccessKey, err)
	}
	c := &account{name: a.AccessKey, macs: newMACs([]byte(a.SecretKey)), white: white, admin: a.Admin,
		defaultTopic: parsePerm(a.DefaultTopicPerm), defaultGroup: parsePerm(a.DefaultGroupPerm)}
	if c.topics, err = parsePerms("topic", a.TopicPerms); err == nil {
		c.groups, err = parsePerms("group", a.GroupPerms)
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: account %s: %w", a.line, a.AccessKey, err)
	}
	return c, nil
}

func parsePerms(what string, list []string) (map[string]perm, error) {
	perms := make(map[string]perm, len(list))
	for _, item := range list {
		name, value, ok := strings.Cut(item, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || value == "" || strings.Contains(value, "=") {
			return nil, fmt.Errorf("parse resource permission failed for %s:%s, want name=PUB, name=SUB, name=PUB|SUB or name=DENY", what, item)
		}
		perms[name] = parsePerm(value)
	}
	return perms, nil
}
