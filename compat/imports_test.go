package compat

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/apogee-mq/apogee/"

// The rooms from the ground up: a room imports only rooms of a lower floor.
var floors = map[string]int{"codec": 0, "remoting": 1, "store": 1, "processor": 2, "auth": 2, "broker": 3, "namesrv": 3, "cmd": 4}

const (
	maxFunctionLines = 80
	maxFileLines     = 700
)

// source is a Go file of this module.
type source struct {
	path string // from the module's root, with slashes
	file *ast.File
	set  *token.FileSet
}

func (s source) room() string {
	room, _, _ := strings.Cut(s.path, "/")
	return room
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

// calls are the selections pkg.Name in a file for which match says yes.
func (s source) uses(pkg string, match func(name string) bool) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg && match(sel.Sel.Name) {
				found = append(found, s.at(sel))
			}
		}
		return true
	})
	return found
}

// tree calls f with each file of the module below its root.
func tree(t *testing.T, f func(path string)) string {
	t.Helper()
	root, err := moduleRoot()
	require.NoError(t, err)
	skipped := []string{".git", "bin", "dist", "target", "testdata", "apogee-data", ".cache"}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skipped, d.Name()):
			return filepath.SkipDir
		case d.Type().IsRegular():
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(rel))
		}
		return nil
	}))
	return root
}

func sources(t *testing.T) []source {
	t.Helper()
	var paths []string
	root := tree(t, func(path string) {
		if strings.HasSuffix(path, ".go") {
			paths = append(paths, path)
		}
	})
	var all []source
	for _, path := range paths {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root, path), nil, parser.ParseComments)
		require.NoError(t, err)
		all = append(all, source{path, file, set})
	}
	return all
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if path == "github.com/edsrzf/mmap-go" {
				require.Equal(t, "store", s.room(), "%s imports mmap-go", s.path)
				require.True(t, strings.HasPrefix(filepath.Base(s.path), "segment"), "%s imports mmap-go", s.path)
			}
			rest, ours := strings.CutPrefix(path, modulePath)
			if !ours {
				continue
			}
			other, _, _ := strings.Cut(rest, "/")
			require.NotEqual(t, "compat", s.room(), "%s imports %s", s.path, path)
			if s.room() == other {
				continue
			}
			from, known := floors[s.room()]
			require.True(t, known, "%s is in no known room", s.path)
			to, known := floors[other]
			require.True(t, known, "%s imports %s, which is no room", s.path, path)
			require.Less(t, to, from, "%s imports %s", s.path, path)
		}
	}
}

func TestHouseRules(t *testing.T) {
	t.Parallel()
	rawAtomic := regexp.MustCompile(`^(Add|And|Or|Load|Store|Swap|CompareAndSwap)(Int32|Int64|Uint32|Uint64|Uintptr|Pointer)$`)
	all := sources(t)

	t.Run("no test sleeps", func(t *testing.T) {
		for _, s := range all {
			if s.isTest() {
				require.Empty(t, s.uses("time", func(name string) bool { return name == "Sleep" }))
			}
		}
	})

	t.Run("atomics have types", func(t *testing.T) {
		for _, s := range all {
			require.Empty(t, s.uses("atomic", rawAtomic.MatchString))
		}
	})

	t.Run("functions and files have a length to read", func(t *testing.T) {
		for _, s := range all {
			if s.isTest() {
				continue
			}
			lines := s.set.Position(s.file.End()).Line
			require.LessOrEqual(t, lines, maxFileLines, s.path)
			for _, decl := range s.file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok {
					lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
					require.LessOrEqual(t, lines, maxFunctionLines, "%s %s", s.at(f), f.Name.Name)
				}
			}
		}
	})

	t.Run("no init", func(t *testing.T) {
		for _, s := range all {
			for _, decl := range s.file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok {
					require.False(t, f.Recv == nil && f.Name.Name == "init", s.at(decl))
				}
			}
		}
	})
}

// TestNoMachinePaths keeps paths of the machine that the code was written on out of it.
func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	text := []string{".go", ".md", ".java", ".xml", ".sh", ".txt", ".yml", ".yaml", ".conf", ".properties", ".mod", "Makefile", "run"}
	machine := regexp.MustCompile(`(^|[^\w.])/(root|work|home/\w+|Users/\w+)/|\.\./` + "shared" + `/`)
	var paths []string
	root := tree(t, func(path string) {
		for _, end := range text {
			if strings.HasSuffix(path, end) {
				paths = append(paths, path)
				return
			}
		}
	})
	require.NotEmpty(t, paths)
	for _, path := range paths {
		b, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		for i, line := range strings.Split(string(b), "\n") {
			line = strings.ReplaceAll(line, "/home/you/", "") // anybody's
			if strings.HasPrefix(path, "deploy/") {
				line = strings.ReplaceAll(line, "/home/"+"rocketmq/", "") // the home in Apache's image
			}
			require.False(t, machine.MatchString(line), "%s:%d: %s", path, i+1, line)
		}
	}
}
