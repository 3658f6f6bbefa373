// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Where the kernel lets nobody attach programs to its security hooks, it can still
// ask about opens (fanotify). It asks about everybody's, and who opens waits for the
// answer: so only what may not be read is marked, by inode, and nothing else on the
// machine ever waits. When the daemon ends, the kernel asks nobody and lets go.
//
// What is asked says nothing about reading or writing, so that this can keep secrets,
// and cannot keep anything from being written.

// tierFanotify is how those gates work.
const tierFanotify = "fanotify"

// opens asks about opens of what may not be read.
type opens struct {
	e *Enforcer

	mu       sync.Mutex
	groups   map[exception]*openGroup // nil: not in force
	unmarked string                   // what could not be marked; empty: nothing

	refused, untold atomic.Uint64
	tell            chan refusedOpen
}

// exception says who may read something nevertheless: the own program of an agent.
// Files are in a group by it, so that the kernel's question says which holds, and
// nobody has to find out by a path.
type exception struct {
	agent uint32 // 0: any agent's
	none  bool   // nobody
}

// openGroup is one fanotify group.
type openGroup struct {
	exception
	opens *opens
	file  *os.File
	fd    int
	ended chan struct{}
}

// refusedOpen is an open that was refused, or would have been.
type refusedOpen struct {
	proc     ebpf.Proc
	pid      int
	path     string
	enforced bool
}

func (o *opens) init(e *Enforcer) {
	o.e = e
	o.tell = make(chan refusedOpen, 256)
	e.work.Go("telling of opens", o.telling)
}

// active says whether opens are asked about.
func (o *opens) active() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.groups != nil
}

// begin asks about the opens of what may not be read, and from now on of nothing
// else. On an error what was asked about before still is.
func (o *opens) begin(unreadable []wanted) error {
	next := map[exception]*openGroup{}
	unmarked, err := o.mark(next, unreadable)
	if err != nil {
		closeGroups(next)
		return err
	}
	o.mu.Lock()
	before := o.groups
	o.groups, o.unmarked = next, unmarked
	o.mu.Unlock()
	closeGroups(before) // in between both were asked
	return nil
}

// again marks what has come to be in the places meanwhile.
func (o *opens) again(unreadable []wanted) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.groups == nil {
		return nil
	}
	var err error
	o.unmarked, err = o.mark(o.groups, unreadable)
	return err
}

// watchOpens asks about the opens of a boundary's secrets, unless requirements do
// without.
func (e *Enforcer) watchOpens(b *boundary) error {
	if b.policy.NoFanotify || b.policy.Mode == policy.NoBoundary || b.policy.Guard {
		e.opens.end()
		return nil
	}
	return e.opens.begin(b.unreadable())
}

// end asks about nothing any more.
func (o *opens) end() {
	o.mu.Lock()
	groups := o.groups
	o.groups, o.unmarked = nil, ""
	o.mu.Unlock()
	closeGroups(groups)
}

func closeGroups(groups map[exception]*openGroup) {
	for _, g := range groups {
		g.file.Close()
		<-g.ended
	}
}

// missing tells what could not be marked.
func (o *opens) missing() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unmarked
}

// maxMarked bounds what is marked: each file stays in the kernel's memory, 1 KiB or
// so.
const maxMarked = 20_000

// local are file systems that the daemon can read whatever is on them. On others (a
// server that trusts no root, somebody's FUSE) the kernel could not show it the file,
// and would refuse it to its owner as well.
var local = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.OVERLAYFS_SUPER_MAGIC: true, 0x2fc12fc1: true /* zfs */, 0xca451a4e: true, /* bcachefs */
}

// marking is one walk over places.
type marking struct {
	groups map[exception]*openGroup
	marked int
	left   int // what had to be left out
	first  string
}

// mark marks every place below Config.MarkBelow, and returns what it had to leave
// out.
func (o *opens) mark(groups map[exception]*openGroup, unreadable []wanted) (string, error) {
	m := marking{groups: groups}
	for _, w := range unreadable {
		if o.e.MarkBelow == "" || !below(w.path, filepath.Clean(o.e.MarkBelow)) {
			m.leave(w.path, "a private instance asks below "+strconv.Quote(o.e.MarkBelow))
			continue
		}
		_, err := look(&o.e.lookups, w.path, func() (struct{}, error) { var st unix.Statfs_t; return struct{}{}, unix.Statfs(w.path, &st) })
		if errors.Is(err, errHangs) {
			m.leave(w.path, errHangs.Error())
			continue
		}
		if err := o.place(&m, w); err != nil {
			return "", err
		}
	}
	if m.left > 0 {
		return fmt.Sprintf("%d places are not asked about, first %s", m.left, m.first), nil
	}
	return "", nil
}

// also marks one more place, wherever it is: until the next begin.
func (o *opens) also(path string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.groups == nil {
		return nil
	}
	return o.place(&marking{groups: o.groups}, wanted{path: path})
}

func (m *marking) leave(path, why string) {
	if m.left++; m.left == 1 {
		m.first = path + ": " + why
	}
}

// place marks a place and all below it. What is new in a directory is asked about with
// it; each file is marked as well, since it may be moved, or linked, elsewhere.
func (o *opens) place(m *marking, w wanted) error {
	g, err := o.group(m.groups, w.bound)
	if err != nil {
		return err
	}
	return filepath.WalkDir(w.path, func(path string, d fs.DirEntry, err error) error {
		dir := d != nil && d.IsDir()
		var st unix.Statfs_t
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !dir && !d.Type().IsRegular():
			return nil
		case err != nil:
			m.leave(path, err.Error())
			return fs.SkipDir
		case m.marked >= maxMarked:
			m.leave(path, "more than can be marked")
			return fs.SkipAll
		case (dir || path == w.path) && (unix.Statfs(path, &st) != nil || !local[st.Type]):
			m.leave(path, "not on a local file system")
			return fs.SkipDir
		}
		m.marked++
		if err := g.mark(path, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.leave(path, err.Error())
		}
		return nil
	})
}

// group returns that of an exception.
func (o *opens) group(groups map[exception]*openGroup, b ebpf.Bound) (*openGroup, error) {
	x := exception{agent: b.Agent}
	if b.Flags&ebpf.BoundAgent == 0 {
		x = exception{none: true}
	}
	if g := groups[x]; g != nil {
		return g, nil
	}
	// Without limits: of a full queue, the kernel lets everything through. To show a file
	// the kernel opens it, in our read: that of a pipe, or of what is on lease, must not
	// wait for somebody.
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS,
		unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return nil, fmt.Errorf("asking for fanotify: %w", err)
	}
	g := &openGroup{exception: x, opens: o, file: os.NewFile(uintptr(fd), "fanotify"), fd: fd, ended: make(chan struct{})}
	groups[x] = g
	go g.answer()
	return g, nil
}

func (g *openGroup) mark(path string, dir bool) error {
	mask := uint64(unix.FAN_OPEN_PERM)
	if dir {
		mask |= unix.FAN_ONDIR | unix.FAN_EVENT_ON_CHILD
	}
	return unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_DONT_FOLLOW, mask, unix.AT_FDCWD, path)
}

// answer answers until the group is closed. A process stands still meanwhile, and it
// may be the daemon itself: nothing here opens a file, waits for a lock that is held
// while files are opened, or for the event store.
func (g *openGroup) answer() {
	defer close(g.ended)
	buf := make([]byte, 128*int(unsafe.Sizeof(unix.FanotifyEventMetadata{})))
	for {
		n, ok := g.read(buf)
		if !ok {
			return
		}
		for rest := buf[:n]; len(rest) >= int(unsafe.Sizeof(unix.FanotifyEventMetadata{})); {
			m := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&rest[0]))
			if int(m.Event_len) < int(unsafe.Sizeof(*m)) || int(m.Event_len) > len(rest) {
				break
			}
			if m.Fd >= 0 {
				g.one(int(m.Pid), m.Fd)
			}
			rest = rest[m.Event_len:]
		}
	}
}

// read takes questions; not ok: the group is closed. What the kernel cannot open to
// show it (a socket, something on lease, too many files are open), it refuses itself:
// that is no reason to end, and EAGAIN none to wait, if there are others.
func (g *openGroup) read(buf []byte) (n int, ok bool) {
	conn, err := g.file.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = conn.Read(func(fd uintptr) bool {
		for {
			var err error
			n, err = unix.Read(int(fd), buf)
			if err == nil {
				return true
			}
			n = 0
			more := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, polled := unix.Poll(more, 0); errors.Is(err, unix.EAGAIN) && polled == nil && more[0].Revents == 0 {
				return false // who opens next wakes us
			}
			g.opens.untold.Add(1)
			g.opens.e.Log.Debug("an open was refused that the kernel could not show", "error", err)
		}
	})
	return n, err == nil
}

func (g *openGroup) one(pid int, fd int32) {
	defer unix.Close(int(fd))
	r, refuse := g.judge(pid)
	answer := unix.FanotifyResponse{Fd: fd, Response: unix.FAN_ALLOW}
	if refuse && r.enforced {
		answer.Response = unix.FAN_DENY
	}
	// If it cannot be written the process is gone, or the group is closed.
	_, _ = g.file.Write(unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer)))
	if !refuse || r.proc.Session == canarySession {
		return
	}
	g.opens.refused.Add(1)
	r.path, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	select {
	case g.opens.tell <- r:
	default:
		g.opens.untold.Add(1)
	}
}

// judge says whether a process may not open something of the group.
func (g *openGroup) judge(pid int) (refusedOpen, bool) {
	e := g.opens.e
	p, err := e.Kernel.Lookup(pid)
	if errors.Is(err, ebpf.ErrNoProcess) {
		return refusedOpen{}, false
	}
	r := refusedOpen{proc: p, pid: pid, enforced: true}
	if err != nil || p.Flags&ebpf.CanaryChild != 0 {
		return r, true
	}
	s := e.marks.find(p.Session)
	if s == nil {
		return r, false // not recognised yet: it may be no agent
	}
	if p.Flags&(ebpf.Agent|ebpf.ByAgent) != 0 && !g.none && (g.agent == 0 || g.agent == agentNumber(s.agent)) {
		return r, false
	}
	r.enforced = e.now.Load().mode == policy.Enforce
	return r, true
}

// telling makes events of what was refused.
func (o *opens) telling() {
	for {
		select {
		case <-o.e.ctx.Done():
			return
		case r := <-o.tell:
			s := o.e.marks.find(r.proc.Session)
			if s == nil {
				continue
			}
			ev := o.e.fileEvent(s, &ebpf.File{
				Head: ebpf.Head{PID: r.pid, Time: bootTime(), Session: r.proc.Session, Cause: r.proc.Cause, Start: r.proc.Start},
				Op:   ebpf.OpRead, Why: ebpf.WhyUnreadable, Enforced: r.enforced, UID: ownerOf(r.pid),
			})
			ev.Attrs[telemetry.AttrGate] = gateRead
			ev.Attrs[telemetry.AttrTier] = tierFanotify
			ev.Attrs[telemetry.AttrFilePath] = r.path
			o.e.stats.events.Add(1)
			o.e.record(ev)
		}
	}
}
