package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// The files of a book.
const (
	fileName = "auth.json"
	keyName  = "auth.key"
	// fileVersion is of the file's form, on disk, do not change.
	fileVersion = 1
)

// maxUsers bounds a book.
const maxUsers = 100_000

// user is one of a book. It does not change once it is in one.
type user struct {
	name     string
	secret   []byte
	super    bool
	disabled bool
	macs     *macs
	acl      *acl // nil: none
}

// subject is the user's key in policies and remarks.
func subject(name string) string { return "User:" + name }

// info returns the user as answers show it, with the secret, as Java does: only those come here who may see it.
func (u *user) info() codec.UserInfo {
	info := codec.UserInfo{Username: u.name, Password: string(u.secret), UserType: "Normal", UserStatus: "enable"}
	if u.super {
		info.UserType = "Super"
	}
	if u.disabled {
		info.UserStatus = "disable"
	}
	return info
}

// Book keeps users and their policies: in memory as one table that is replaced as a whole by every change, on disk as one file.
// Java keeps them in RocksDB. Apache: LocalAuthenticationMetadataProvider, LocalAuthorizationMetadataProvider.
type Book struct {
	path string
	seal *seal
	log  *slog.Logger

	// changing is held during a change, also while it is written.
	changing sync.Mutex
	users    atomic.Pointer[map[string]*user]
}

// bookFile is the file.
type bookFile struct {
	Version int        `json:"version"`
	Users   []userLine `json:"users"`
}

type userLine struct {
	Name     string             `json:"name"`
	Secret   string             `json:"secret"`
	Super    bool               `json:"super,omitempty"`
	Disabled bool               `json:"disabled,omitempty"`
	Policies []codec.PolicyInfo `json:"policies,omitempty"`
}

// OpenBook reads the users that lie in a folder; keyPath is the file of the key that encrypts their secrets, empty for the one
// beside them.
func OpenBook(dir, keyPath string, log *slog.Logger) (*Book, error) {
	b := &Book{path: filepath.Join(dir, fileName), log: log}
	if keyPath == "" {
		keyPath = filepath.Join(dir, keyName)
	}
	text, err := os.ReadFile(b.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the users: %w", err)
	}
	var file bookFile
	if err == nil {
		if err := codec.UnmarshalJSON(text, &file); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w; put a copy of it back, or remove it and create the users again", b.path, err)
		}
		if file.Version != fileVersion {
			return nil, fmt.Errorf("%s has version %d, this program reads %d", b.path, file.Version, fileVersion)
		}
	}
	if b.seal, err = openSeal(keyPath, len(file.Users) == 0); err != nil {
		return nil, err
	}
	users := make(map[string]*user, len(file.Users))
	for i := range file.Users {
		u, err := b.read(&file.Users[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.path, err)
		}
		users[u.name] = u
	}
	b.users.Store(&users)
	return b, nil
}

func (b *Book) read(line *userLine) (*user, error) {
	secret, err := b.seal.open(line.Name, line.Secret)
	if err != nil {
		return nil, err
	}
	u := &user{name: line.Name, secret: secret, super: line.Super, disabled: line.Disabled, macs: newMACs(secret)}
	if len(line.Policies) > 0 {
		policies, err := parsePolicies(line.Policies)
		if err != nil {
			return nil, fmt.Errorf("policies of user %s: %w", line.Name, err)
		}
		u.acl = (*acl)(nil).merged(policies)
	}
	return u, nil
}

// Len returns the number of users.
func (b *Book) Len() int { return len(*b.users.Load()) }

// find returns a user, nil if there is none.
func (b *Book) find(name []byte) *user { return (*b.users.Load())[string(name)] }

// sorted returns the users whose name contains the filter, in the order of their names.
func (b *Book) sorted(filter string) []*user {
	users := *b.users.Load()
	var list []*user
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if strings.TrimSpace(filter) == "" || strings.Contains(name, filter) {
			list = append(list, users[name])
		}
	}
	return list
}

// change lets f change a copy of the users; what it did counts once it is on disk. An error of f changes nothing.
func (b *Book) change(f func(users map[string]*user) error) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	next := maps.Clone(*b.users.Load())
	if err := f(next); err != nil {
		return err
	}
	if err := b.save(next); err != nil {
		b.log.Error("users cannot be written, the change is undone", "err", err)
		return err
	}
	b.users.Store(&next)
	return nil
}

func (b *Book) save(users map[string]*user) error {
	file := bookFile{Version: fileVersion, Users: make([]userLine, 0, len(users))}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		sealed, err := b.seal.close(name, u.secret)
		if err != nil {
			return err
		}
		line := userLine{Name: name, Secret: sealed, Super: u.super, Disabled: u.disabled}
		if u.acl != nil {
			line.Policies = u.acl.info("").Policies
		}
		file.Users = append(file.Users, line)
	}
	text, err := codec.MarshalPrettyJSON(file)
	if err != nil {
		return err
	}
	return replaceSecretFile(b.path, text)
}

// createUser adds a user. Apache: AuthenticationMetadataManagerImpl.
func (b *Book) createUser(info codec.UserInfo) error {
	switch {
	case strings.TrimSpace(info.Username) == "":
		return refuse("username can not be blank")
	case strings.TrimSpace(info.Password) == "":
		return refuse("password can not be blank")
	case len(info.Username) > maxNameBytes || len(info.Password) > maxNameBytes:
		return refuse("username or password is too long")
	}
	return b.change(func(users map[string]*user) error {
		if users[info.Username] != nil {
			return refuse("The user is existed")
		}
		if len(users) >= maxUsers {
			return refuse("There are too many users")
		}
		users[info.Username] = &user{name: info.Username, secret: []byte(info.Password), macs: newMACs([]byte(info.Password)),
			super: isSuper(info.UserType), disabled: strings.EqualFold(info.UserStatus, "disable")}
		return nil
	})
}

func isSuper(userType string) bool { return strings.EqualFold(userType, "Super") }

// updateUser changes what is given of a user; mayChange says whether that user may be changed by whoever asks.
func (b *Book) updateUser(info codec.UserInfo, mayChange func(*user) error) error {
	if len(info.Password) > maxNameBytes {
		return refuse("username or password is too long")
	}
	return b.change(func(users map[string]*user) error {
		old := users[info.Username]
		if old == nil {
			return refuse("The user is not exist")
		}
		if err := mayChange(old); err != nil {
			return err
		}
		u := *old
		if strings.TrimSpace(info.Password) != "" {
			u.secret = []byte(info.Password)
			u.macs = newMACs(u.secret)
		}
		if isSuper(info.UserType) || strings.EqualFold(info.UserType, "Normal") {
			u.super = isSuper(info.UserType)
		}
		if strings.EqualFold(info.UserStatus, "enable") || strings.EqualFold(info.UserStatus, "disable") {
			u.disabled = strings.EqualFold(info.UserStatus, "disable")
		}
		users[u.name] = &u
		return nil
	})
}

// deleteUser takes a user out, with its policies; one that is not there is no error.
func (b *Book) deleteUser(name string, mayChange func(*user) error) error {
	if b.find([]byte(name)) == nil {
		return nil
	}
	return b.change(func(users map[string]*user) error {
		if old := users[name]; old != nil {
			if err := mayChange(old); err != nil {
				return err
			}
		}
		delete(users, name)
		return nil
	})
}

// putACL puts policies over those of a user. Apache: AuthorizationMetadataManagerImpl.
func (b *Book) putACL(name string, infos []codec.PolicyInfo) error {
	policies, err := parsePolicies(infos)
	if err != nil {
		return err
	}
	return b.change(func(users map[string]*user) error {
		old := users[name]
		if old == nil {
			return refuse("The subject of " + subject(name) + " is not exist.")
		}
		u := *old
		if u.acl = old.acl.merged(policies); u.acl.size() > maxEntries {
			return refuse("The policies have too many entries.")
		}
		users[name] = &u
		return nil
	})
}

// deleteACL takes the entry of a resource out, or all when r is nil.
func (b *Book) deleteACL(name string, typ policyType, r *resource) error {
	return b.change(func(users map[string]*user) error {
		old := users[name]
		switch {
		case old == nil:
			return refuse("The subject is not exist.")
		case old.acl == nil:
			return refuse("The acl is not exist.")
		}
		u := *old
		if u.acl = nil; r != nil {
			u.acl = old.acl.without(typ, *r)
		}
		users[name] = &u
		return nil
	})
}
