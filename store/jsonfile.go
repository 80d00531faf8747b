package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/apogee-mq/apogee/codec"
)

// jsonFile is one of Java's configuration files. Three names belong to it:
//
//	topics.json       what counts; always whole, since it only ever gets there by a rename
//	topics.json.bak   what counted before, a second name of the former file
//	topics.json.tmp   what is being written; worth nothing
//
// A write goes: tmp written and flushed, the present file linked as .bak, tmp renamed over the file, folder flushed. At
// every moment at least one of the first two is whole. Java renames the file to .bak and then writes the file in place,
// so that a stop in between leaves only the .bak, or a torn file beside it: load takes the .bak then. Apache:
// ConfigManager.
type jsonFile struct {
	path   string
	opts   TableOptions
	faults faultFunc
}

const (
	bakSuffix     = ".bak"
	tmpSuffix     = ".tmp"
	damagedSuffix = ".damaged-"
)

func newJSONFile(path string, opts TableOptions) *jsonFile {
	return &jsonFile{path: path, opts: opts, faults: opts.Faults}
}

// loadJSON reads the newest good of a file and its .bak into a new T; nil when there is neither. A damaged one is kept
// under another name once the other one has taken its place. When something is there but nothing good, the error is
// ErrCorrupt and nothing is moved, so that the next start finds the same.
func loadJSON[T any](f *jsonFile) (*T, error) {
	main, err := readJSON[T](f, f.path)
	if err != nil {
		return nil, err
	}
	bak, err := readJSON[T](f, f.path+bakSuffix)
	switch {
	case err != nil && main.value == nil:
		return nil, err
	case err != nil:
		f.opts.Logger.Warn("backup of a table cannot be read", "error", err)
		return main.value, nil
	}
	best, other := main, bak
	if main.value == nil {
		best, other = bak, main
	}
	switch {
	case best.value == nil && main.empty() && bak.empty():
		return nil, nil
	case best.value == nil:
		return nil, fmt.Errorf("%w: neither %s (%s) nor %s (%s) can be read as a table",
			ErrCorrupt, main.path, main.state(), bak.path, bak.state())
	case other.damage != nil:
		if err := f.setAside(other.path, best.path, other.damage); err != nil {
			return nil, err
		}
	case best.path != f.path:
		f.opts.Logger.Warn("table is missing, its backup is used", "file", f.path, "backup", best.path)
	}
	return best.value, nil
}

// jsonRead is what reading one file gave: a value, or damage, or neither when the file is missing or has no bytes.
type jsonRead[T any] struct {
	path   string
	value  *T
	damage error
}

func (r *jsonRead[T]) empty() bool { return r.value == nil && r.damage == nil }

func (r *jsonRead[T]) state() string {
	if r.damage != nil {
		return r.damage.Error()
	}
	return "missing or empty"
}

func readJSON[T any](f *jsonFile, path string) (*jsonRead[T], error) {
	r := &jsonRead[T]{path: path}
	if err := f.faults.check(OpRead, path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	value := new(T)
	if r.damage = codec.UnmarshalJSON(text, value); r.damage == nil {
		r.value = value
	}
	return r, nil
}

// setAside keeps a damaged file under a name that nothing else uses.
func (f *jsonFile) setAside(path, used string, damage error) error {
	base := path + damagedSuffix + f.opts.Now().UTC().Format("20060102150405.000")
	aside := base
	for n := 1; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s-%d", base, n)
	}
	if err := f.rename(path, aside); err != nil {
		return err
	}
	f.opts.Logger.Warn("table file is damaged, kept aside", "file", path, "kept", aside, "used", used, "error", damage)
	return f.syncDir()
}

// save replaces the file's content. After an error the file holds the old content or the new, never a mixture.
func (f *jsonFile) save(text []byte) error {
	tmp := f.path + tmpSuffix
	err := f.writeTmp(tmp, text)
	if err == nil {
		err = f.keepBak()
	}
	if err == nil {
		err = f.rename(tmp, f.path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return f.syncDir()
}

func (f *jsonFile) writeTmp(tmp string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return wrapFileError(OpCreate, tmp, err)
	}
	if err := f.faults.check(OpCreate, tmp); err != nil {
		return err
	}
	w, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return wrapFileError(OpCreate, tmp, err)
	}
	defer w.Close()
	if err := f.faults.check(OpWrite, tmp); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return wrapFileError(OpWrite, tmp, err)
	}
	if err := f.faults.check(OpFlush, tmp); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return wrapFileError(OpFlush, tmp, err)
	}
	return w.Close()
}

// keepBak gives the present file the name .bak too. Where the file system has no second names it is renamed, as Java
// does.
func (f *jsonFile) keepBak() error {
	bak := f.path + bakSuffix
	link := bak + tmpSuffix
	os.Remove(link)
	err := os.Link(f.path, link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return f.rename(f.path, bak)
	}
	// Renaming one name of a file over another of the same file does nothing, hence the second remove.
	defer os.Remove(link)
	return f.rename(link, bak)
}

func (f *jsonFile) rename(from, to string) error {
	if err := f.faults.check(OpRename, to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return wrapFileError(OpRename, to, err)
	}
	return nil
}

// syncDir makes renames last.
func (f *jsonFile) syncDir() error { return f.faults.syncDir(filepath.Dir(f.path)) }

// discardLogger takes what nobody wants to read.
func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }
