// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Actors remembers who changed what lies in some directories: notifications of fanotify
// name the process. They never hold anybody up. Of a process that has ended before its
// notification is read (a shell's redirection, say) only the number may be left.
type Actors struct {
	fd   int
	file *os.File // the same
	log  *slog.Logger
	meet func(pid int, alive bool) any

	mu      sync.Mutex
	matters func(path string) bool
	dirs    map[string]string // by handle
	last    map[string]Act    // by path
	old     []string          // its keys, oldest first
	done    chan struct{}
}

// Act is a change that somebody made.
type Act struct {
	PID int
	At  time.Time
	// Who is what meet returned about the process.
	Who any
}

// maxActs bounds the paths of which it is known who changed them last.
const maxActs = 4096

// actMask is what tells of a change. It has no opens: those of readers are many.
const actMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MODIFY | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_ATTRIB |
	unix.FAN_EVENT_ON_CHILD | unix.FAN_ONDIR

// NewActors begins to listen. meet is asked about a process as soon as it is known to
// have changed something; alive says that its number is certainly still its own. The
// error says that this kernel (before 5.9) cannot tell.
func NewActors(log *slog.Logger, meet func(pid int, alive bool) any) (*Actors, error) {
	a := &Actors{log: log, meet: meet, dirs: map[string]string{}, last: map[string]Act{}, done: make(chan struct{})}
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_REPORT_DFID_NAME
	var err error
	if a.fd, err = unix.FanotifyInit(flags|unix.FAN_REPORT_PIDFD, unix.O_RDONLY|unix.O_CLOEXEC); err != nil {
		// Before 5.15 there is no handle of the process, and nobody is certainly alive.
		if a.fd, err = unix.FanotifyInit(flags, unix.O_RDONLY|unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("who changes files cannot be told: fanotify: %w", err)
		}
	}
	a.file = os.NewFile(uintptr(a.fd), "fanotify") // in the runtime's poller: Close ends the read
	go func() {
		defer close(a.done)
		a.read()
	}()
	return a, nil
}

// Close ends it.
func (a *Actors) Close() error {
	err := a.file.Close()
	<-a.done
	return err
}

// Watch adds directories; those that are not there, or on a file system without handles,
// are left out. Only of paths that matter, from now on, somebody is met.
func (a *Actors) Watch(dirs []string, matters func(path string) bool) {
	a.mu.Lock()
	a.matters = matters
	a.mu.Unlock()
	for _, dir := range dirs {
		key, err := handleOf(dir)
		if err == nil {
			err = unix.FanotifyMark(a.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, actMask, unix.AT_FDCWD, dir)
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				a.log.Debug("who changes files here cannot be told", "directory", dir, "error", err)
			}
			continue
		}
		a.mu.Lock()
		a.dirs[key] = dir
		a.mu.Unlock()
	}
}

// Last returns who changed a path last, if that was seen after a time.
func (a *Actors) Last(path string, after time.Time) (Act, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	act, ok := a.last[path]
	return act, ok && act.At.After(after)
}

// handleOf is how the kernel names a directory: file system and handle.
func handleOf(dir string) (string, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return "", err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", err
	}
	var fsid [8]byte
	binary.NativeEndian.PutUint32(fsid[:4], uint32(st.Fsid.Val[0]))
	binary.NativeEndian.PutUint32(fsid[4:], uint32(st.Fsid.Val[1]))
	return handleKey(fsid[:], h.Type(), h.Bytes()), nil
}

func handleKey(fsid []byte, kind int32, handle []byte) string {
	return fmt.Sprintf("%x %d %x", fsid, kind, handle)
}

func (a *Actors) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := a.file.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				a.log.Error("who changes files is not told any more", "error", err)
			}
			return
		}
		for _, n := range parseActs(buf[:n]) {
			a.note(n)
		}
	}
}

// notice is one notification of fanotify.
type notice struct {
	pid   int
	pidfd int // -1: none
	dir   string
	name  string
}

// Types of what follows a notification: include/uapi/linux/fanotify.h.
const (
	infoDirName = 2
	infoPidfd   = 4
)

// parseActs reads notifications as fanotify(7) lays them out. What does not fit is left
// out.
func parseActs(b []byte) []notice {
	const head = 24
	var out []notice
	for len(b) >= head {
		length, headLen := int(binary.NativeEndian.Uint32(b)), int(binary.NativeEndian.Uint16(b[6:]))
		if length < head || length > len(b) || headLen < head || headLen > length || b[4] != unix.FANOTIFY_METADATA_VERSION {
			return out
		}
		n := notice{pid: int(int32(binary.NativeEndian.Uint32(b[20:]))), pidfd: -1}
		for rest := b[headLen:length]; len(rest) >= 4; {
			size := int(binary.NativeEndian.Uint16(rest[2:]))
			if size < 4 || size > len(rest) {
				break
			}
			switch info := rest[4:size]; {
			case rest[0] == infoPidfd && len(info) >= 4:
				n.pidfd = int(int32(binary.NativeEndian.Uint32(info)))
			case rest[0] == infoDirName && len(info) >= 16:
				if bytesLen := uint64(binary.NativeEndian.Uint32(info[8:])); 16+bytesLen <= uint64(len(info)) {
					n.dir = handleKey(info[:8], int32(binary.NativeEndian.Uint32(info[12:])), info[16:16+bytesLen])
					name, _, _ := bytes.Cut(info[16+bytesLen:], []byte{0})
					n.name = string(name)
				}
			}
			rest = rest[size:]
		}
		out = append(out, n)
		b = b[length:]
	}
	return out
}

func (a *Actors) note(n notice) {
	if n.pidfd >= 0 {
		defer unix.Close(n.pidfd)
	}
	a.mu.Lock()
	dir, ok := a.dirs[n.dir]
	matters := a.matters
	a.mu.Unlock()
	if !ok || n.pid == os.Getpid() || n.name == "" {
		return
	}
	path := dir
	if n.name != "." {
		path = filepath.Join(dir, n.name)
	}
	if !matters(path) {
		return
	}
	// What is looked up about the process is its own if it lives afterwards too.
	who := a.meet(n.pid, n.pidfd >= 0 && unix.PidfdSendSignal(n.pidfd, 0, nil, 0) == nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.last[path]; !known {
		if a.old = append(a.old, path); len(a.old) > maxActs {
			delete(a.last, a.old[0])
			a.old = a.old[1:]
		}
	}
	a.last[path] = Act{PID: n.pid, At: time.Now(), Who: who}
}
