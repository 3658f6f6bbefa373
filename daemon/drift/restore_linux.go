// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// war is how often a file of ours was put back.
type war struct {
	differs time.Time   // since when it is not what it should be
	fought  []time.Time // when it was put back
	gaveUp  bool        // and that was told
}

// A file is put back so often within that time; then the other side has won, until it
// is over.
const (
	maxFought = 3
	warTime   = 10 * time.Minute
)

// adopt takes a file of ours as it is for what it should be, if nobody but root can
// have made it so.
func (g *Guard) adopt(path string, now *Print) {
	if now == nil {
		return // it is not installed, or was removed: kept is what it was, if it ever was
	}
	if !now.locked() || now.Sum == "" {
		g.Log.Warn("a file of Paddock's own is not locked, and not kept", "file", path)
		return
	}
	if kept := g.known.ours[path]; kept != nil && kept.means(now) {
		return
	}
	if err := g.known.keep(g.Dir, path, now); err != nil {
		g.Log.Error("keeping a file of Paddock's own", "file", path, "error", err)
	}
}

// defend puts a file of ours back that is not what it should be.
func (g *Guard) defend(place Place, path string, now *Print) {
	kept := g.known.ours[path]
	if kept == nil || kept.means(now) {
		if w := g.wars[path]; w != nil {
			w.differs = time.Time{}
		}
		if kept == nil {
			g.adopt(path, now) // it is installed
		}
		return
	}
	w := g.wars[path]
	if w == nil {
		w = &war{}
		g.wars[path] = w
	}
	at := g.Now()
	if w.differs.IsZero() {
		w.differs = at
	}
	if wait := g.Patience - at.Sub(w.differs); wait > 0 {
		g.lookIn(wait)
		return
	}
	if g.Upgrading != nil && g.Upgrading() {
		return
	}
	for len(w.fought) > 0 && at.Sub(w.fought[0]) > warTime {
		w.fought, w.gaveUp = w.fought[1:], false
	}
	c := Change{Place: place, Operation: Write, Before: now}
	if len(w.fought) >= maxFought {
		if !w.gaveUp {
			w.gaveUp = true
			c.Failed = fmt.Errorf("put back %d times within %s, and changed again: it is left as it is for now", maxFought, warTime)
			g.Tell(c)
		}
		return
	}
	w.fought, w.differs = append(w.fought, at), time.Time{}
	c.Failed = g.known.restore(g.Dir, path, kept)
	c.Restored = c.Failed == nil
	after, err := printOf(path, nil, true)
	if err == nil && after != nil {
		g.known.prints[path], c.After = after, after
	}
	g.Tell(c)
}

// lookIn has it looked at again.
func (g *Guard) lookIn(wait time.Duration) {
	if g.timer != nil && time.Now().Before(g.due) && time.Until(g.due) < wait {
		return // sooner already
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.due = time.Now().Add(wait)
	g.timer = time.AfterFunc(wait, func() {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	})
}

// restore writes a file as it was kept, whatever is in its place.
func (k *known) restore(dir, path string, kept *Print) error {
	data, err := k.content(dir, kept)
	if err != nil {
		return err
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	// No link on the way: it would lead root's hand elsewhere.
	fd, err := unix.Openat2(unix.AT_FDCWD, parent, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return fmt.Errorf("opening %s: %w", parent, err)
	}
	defer unix.Close(fd)
	temporary := ".paddock-" + rand.Text()[:12]
	out, err := unix.Openat(fd, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("writing in %s: %w", parent, err)
	}
	f := os.NewFile(uintptr(out), filepath.Join(parent, temporary))
	_, err = f.Write(data)
	err = errors.Join(err, f.Chown(int(kept.UID), int(kept.GID)), unix.Fchmod(out, kept.Mode&0o7777), f.Sync(), f.Close())
	if err == nil {
		err = unix.Renameat(fd, temporary, fd, filepath.Base(path))
	}
	if errors.Is(err, unix.EISDIR) {
		err = fmt.Errorf("%w: a directory is in its place", fs.ErrExist)
	}
	if err != nil {
		_ = unix.Unlinkat(fd, temporary, 0)
		return fmt.Errorf("putting %s back: %w", path, err)
	}
	return nil
}
