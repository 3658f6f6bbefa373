// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// A process that is held stands still while it is looked at. One that is not (an agent that starts, whatever runs where
// it is only observed, what the kernel allowed by itself) may run another program and be in another directory before its
// record is read: what /proc shows of it then must not be taken for what the record tells of, now or later.

// errMovedOn is returned where a process runs another program than its record tells of.
var errMovedOn = errors.New("the process runs another program by now")

func stands(x *ebpf.Exec) bool { return x.Action == ebpf.ExecHeld }

// program opens the program of an exec.
func (e *Enforcer) program(x *ebpf.Exec) (*os.File, error) {
	f, err := os.Open(procPath(x.PID, "exe"))
	if err != nil || stands(x) || e.isProgram(int(f.Fd()), x) {
		return f, err
	}
	f.Close()
	return nil, errMovedOn
}

// programPath is where the process of an exec sees its program; empty where that cannot be told.
func (e *Enforcer) programPath(x *ebpf.Exec) string {
	if stands(x) {
		return readLink(x.PID, "exe")
	}
	return seen(x.PID, "exe", func(fd int) bool { return e.isProgram(fd, x) })
}

// workPath is where the process of an exec sees its working directory. Held or not, another process may share it, and change it.
func (e *Enforcer) workPath(x *ebpf.Exec) string {
	return seen(x.PID, "cwd", func(fd int) bool {
		_, same := e.isInode(fd, x.Cwd)
		return same
	})
}

func (e *Enforcer) isProgram(fd int, x *ebpf.Exec) bool {
	st, same := e.isInode(fd, x.Exe.Inode())
	return same && st.Size == x.Exe.Size && st.Ctime.Sec == x.Exe.CtimeSec && st.Ctime.Nsec == x.Exe.CtimeNsec
}

// isInode says whether an open file is the inode that the kernel told of, and what it is like. It asks no file system that
// somebody else serves. On some, the numbers that are told are not the inode's own: then the kernel is asked, which looks at every
// open file of the machine, so it is not asked often.
func (e *Enforcer) isInode(fd int, id ebpf.InodeID) (unix.Statx_t, bool) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_SIZE|unix.STATX_CTIME, &st)
	if err != nil {
		return st, false
	}
	told := ebpf.InodeID{Ino: st.Ino, Dev: st.Dev_major<<20 | st.Dev_minor}
	return st, told == id || e.numbers.same(told, id, fd, e.Kernel.Identify)
}

// numbers are devices whose inodes were found to be told of another device, under their own number.
type numbers struct {
	mu     sync.Mutex
	others map[[2]uint32]bool
	asked  time.Time
}

const (
	// askIdentity is how often the kernel is asked at most.
	askIdentity = 20 * time.Millisecond
	mostNumbers = 1024
)

// same says whether what is told as one is the other. It is open as fd.
func (n *numbers) same(told, id ebpf.InodeID, fd int, ask func() (map[int]ebpf.FileID, error)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	pair := [2]uint32{told.Dev, id.Dev}
	if told.Ino == id.Ino && n.others[pair] {
		return true
	}
	if time.Since(n.asked) < askIdentity {
		return false
	}
	ids, err := ask()
	n.asked = time.Now()
	if err != nil || ids[fd].Inode() != id {
		return false
	}
	if told.Ino == id.Ino && len(n.others) < mostNumbers {
		if n.others == nil {
			n.others = map[[2]uint32]bool{}
		}
		n.others[pair] = true
	}
	return true
}

// seen is the path of what one of a process's links leads to, if that is it.
func seen(pid int, link string, is func(fd int) bool) string {
	fd, err := unix.Open(procPath(pid, link), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	if !is(fd) {
		return ""
	}
	path, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		return ""
	}
	return path
}
