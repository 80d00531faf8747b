package namesrv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// keeperShare is how much longer than a write of the routes the pause after it is, so that tables of any size cost little.
const keeperShare = 20

// keeper keeps the routes in their file. A name server that starts gives the routes of before until brokers have registered or were
// silent for their time: clients that start meanwhile find theirs. It owns a loop of its own, so that a slow disk holds nothing up.
type keeper struct {
	path string
	on   bool
	// restored are the topics that came from the file; empty unless needWaitForService holds back the others.
	restored map[string]bool
	// kept is the count of changes that the file holds. The loop alone uses it, and closeKeeper after that.
	kept     int64
	failures atomic.Int64
	failed   bool

	stop context.CancelFunc
	loop sync.WaitGroup
}

func (k *keeper) start(run func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.loop.Go(func() { run(ctx) })
}

// openKeeper reads the routes of before. A file that cannot be read, or not be trusted, is said and passed over.
func (s *Server) openKeeper() {
	k := &s.keeper
	k.path = filepath.Join(filepath.Dir(s.opts.KVConfigPath), "apogee", fmt.Sprintf("routes-%d.json", s.opts.ListenPort))
	k.on = s.opts.KeepRoutes
	if !k.on {
		if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("the file of the routes stays, and is read again when keepRoutesEnable is true", "file", k.path, "err", err)
		}
		return
	}
	before, err := readSnapshot(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		s.log.Warn("the routes of before cannot be read; clients get routes when brokers have registered", "file", k.path, "err", err)
		return
	}
	s.routes.restore(before, s.now())
	k.kept = s.routes.answers.changes.Load()
	if s.settings.Load().NeedWaitForService {
		k.restored = make(map[string]bool, len(before.Topics))
		for _, topic := range before.Topics {
			k.restored[topic.Name] = true
		}
	}
	if len(before.Brokers) > 0 {
		s.log.Info("routes of before the start are given until brokers register", "brokers", len(before.Brokers), "topics", len(before.Topics))
	}
}

func readSnapshot(path string) (*snapshot, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSnapshotBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", errSnapshotDamaged, info.Size(), maxSnapshotBytes)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decodeSnapshot(b)
}

// keep writes the routes to their file soon after they have changed.
func (s *Server) keep(ctx context.Context) {
	if !s.keeper.on {
		return
	}
	s.everyScan(ctx, func() time.Duration {
		began := time.Now()
		s.saveRoutes()
		return keeperShare * time.Since(began)
	})
}

// closeKeeper writes what is not written yet. Nothing is written afterwards: the end of connections takes brokers out.
func (s *Server) closeKeeper() {
	s.keeper.stop()
	s.keeper.loop.Wait()
	if s.keeper.on {
		s.saveRoutes()
	}
}

func (s *Server) saveRoutes() {
	k := &s.keeper
	if s.routes.answers.changes.Load() == k.kept {
		return
	}
	now, changes := s.routes.snapshot()
	b, err := now.encode()
	if err == nil && len(b) > maxSnapshotBytes {
		err = fmt.Errorf("%d bytes are more than %d", len(b), maxSnapshotBytes)
	}
	if err == nil {
		err = replaceFile(k.path, b)
	}
	if err != nil {
		k.failures.Add(1)
		if !k.failed {
			s.log.Warn("routes cannot be kept; after a restart clients get those of the last file until brokers register", "file", k.path, "err", err)
		}
		k.failed = true
		return
	}
	if k.failed {
		s.log.Info("routes are kept again", "file", k.path)
	}
	k.kept, k.failed = changes, false
}
