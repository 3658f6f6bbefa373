// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Print is what a path leads to: enough to notice every change, also one that was made
// and taken back.
type Print struct {
	Mode   uint32 `json:"mode"` // type and permissions, as stat(2) has them
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Dev    uint64 `json:"dev"`
	Ino    uint64 `json:"ino"`
	Size   int64  `json:"size"`
	Ctime  int64  `json:"ctime"`            // ns
	Sum    string `json:"sum,omitempty"`    // SHA-256 of a regular file, hexadecimal; empty: too large, or it cannot be read
	Target string `json:"target,omitempty"` // of a symbolic link
	// Fresh says that it changed so shortly before it was looked at that another change
	// could have left the same times.
	Fresh bool `json:"fresh,omitempty"`
}

const (
	maxHashed = 256 << 20       // bytes of a file; nothing that is watched is larger
	settled   = 2 * time.Second // beyond every step of a file system's clock
)

// printOf looks at a path, and does not follow a link that is there. before is what was
// seen the last time, whose sum is taken if nothing can have changed since. Without
// content, no file is read. nil: there is nothing.
func printOf(path string, before *Print, content bool) (*Print, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return nil, nil
		}
		return nil, fmt.Errorf("looking at %s: %w", path, err)
	}
	p := &Print{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Dev: st.Dev, Ino: st.Ino, Size: st.Size, Ctime: st.Ctim.Nano()}
	p.Fresh = time.Since(time.Unix(0, p.Ctime)) < settled
	switch {
	case p.dir():
		p.Size, p.Ctime, p.Fresh = 0, 0, false // change with every file in it, each of which is looked at
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		p.Target, _ = os.Readlink(path)
	case p.regular() && content:
		if before != nil && !before.Fresh && p.same(before) {
			p.Sum = before.Sum
			return p, nil
		}
		p.Sum = sumOf(path)
	}
	return p, nil
}

func (p *Print) dir() bool     { return p.Mode&unix.S_IFMT == unix.S_IFDIR }
func (p *Print) regular() bool { return p.Mode&unix.S_IFMT == unix.S_IFREG }

// same says whether stat(2) shows the same.
func (p *Print) same(o *Print) bool {
	return p.Mode == o.Mode && p.UID == o.UID && p.GID == o.GID && p.Dev == o.Dev && p.Ino == o.Ino && p.Size == o.Size && p.Ctime == o.Ctime
}

// means says whether it means the same to whoever reads it: content, type, owner, mode.
func (p *Print) means(o *Print) bool {
	return p != nil && o != nil && p.Mode == o.Mode && p.UID == o.UID && p.GID == o.GID && p.Sum == o.Sum && p.Target == o.Target && p.Size == o.Size
}

func (p *Print) locked() bool { return p != nil && p.regular() && p.UID == 0 && p.Mode&0o022 == 0 }

func sumOf(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, io.LimitReader(f, maxHashed+1)); err != nil || n > maxHashed {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Bounds of what is looked at below one place: whoever may write there must not be able
// to make the daemon busy.
const (
	maxDepth = 8
	maxBelow = 2000
	// Of users' directories, which may be large.
	maxUsersDepth = 2
	maxUsersBelow = 300
)

// below lists a place and everything in it, and which of that are directories.
func below(place Place) (out, dirs []string) {
	out = []string{place.Path}
	deep, many := maxDepth, maxBelow
	if place.Sessions {
		deep, many = maxUsersDepth, maxUsersBelow
	}
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return
		}
		if depth == 1 {
			dirs = append(dirs, dir)
		}
		entries, _ := d.ReadDir(many) // what could be read
		d.Close()
		for _, e := range entries {
			if len(out) >= many {
				return
			}
			path := filepath.Join(dir, e.Name())
			out = append(out, path)
			if !e.IsDir() {
				continue
			}
			dirs = append(dirs, path)
			if depth < deep {
				walk(path, depth+1)
			}
		}
	}
	walk(place.Path, 1)
	return out, dirs
}
