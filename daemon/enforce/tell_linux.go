// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// tell writes the reason where the blocked program's own errors would have gone,
// so that the agent, and the person who watches it, need not guess what a
// "Killed" means. It never waits, and it goes through the very descriptor the
// process holds: opening its path again could be turned against us.
func (e *Enforcer) tell(h *ebpf.Held, x *ebpf.Exec, v policy.Verdict) {
	fd, err := unix.PidfdGetfd(h.FD(), 2, 0)
	if err != nil {
		return // no standard error, or a kernel before 5.6
	}
	defer unix.Close(fd)
	writeNow(fd, []byte(clean(blocked(x, v))), x)
}

func blocked(x *ebpf.Exec, v policy.Verdict) string {
	return "paddock: blocked " + quoted(x) + ": " + v.Reason + "\n"
}

// tellWaiting says that a process waits for a person, and why: where its own errors
// are shown if that is a terminal, else on the agent's.
func (e *Enforcer) tellWaiting(h *ebpf.Held, x *ebpf.Exec, m *mark, a *approval.Approval) {
	e.tellTerminal(h, x, m, fmt.Sprintf("paddock: %s waits for your approval until %s (paddock approvals): %s\n",
		quoted(x), a.Deadline.Local().Format("15:04:05"), a.Reason))
}

// tellTerminal writes one line to the terminal of a held process, else to that of
// its agent. Where there is none, nobody is told here.
func (e *Enforcer) tellTerminal(h *ebpf.Held, x *ebpf.Exec, m *mark, line string) {
	e.onTerminal(h.FD(), x, m, line)
}

// onTerminal is tellTerminal for any process of a session. It says whether there is a
// terminal.
func (e *Enforcer) onTerminal(pidfd int, x *ebpf.Exec, m *mark, line string) bool {
	fd, ok := terminalOf(pidfd, 2)
	if !ok {
		fd, ok = e.agentTerminal(m)
	}
	if !ok {
		return false
	}
	defer unix.Close(fd)
	// Beginning a line of its own, and ending it for a terminal in raw mode.
	writeNow(fd, []byte("\r\n"+strings.TrimSuffix(clean(line), "\n")+"\r\n"), x)
	return true
}

// agentTerminal is the terminal of a session's first process, if that still runs.
func (e *Enforcer) agentTerminal(m *mark) (int, bool) {
	s, ok := e.Sessions.ByID(m.id)
	if !ok {
		return 0, false
	}
	pidfd, err := unix.PidfdOpen(s.Root.PID, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(pidfd)
	// After the handle was opened: its number may be another's by now.
	if p, err := e.Kernel.Lookup(s.Root.PID); err != nil || p.Session != m.key {
		return 0, false
	}
	// A shell that runs a command has its own streams aside meanwhile.
	return terminalOf(pidfd, 2, 1, 0, 10, 11, 12, 255)
}

// terminalOf returns the first of a process's descriptors that is a pseudo-terminal.
func terminalOf(pidfd int, fds ...int) (int, bool) {
	for _, n := range fds {
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && pseudoTerminal(&st) {
			return fd, true
		}
		unix.Close(fd)
	}
	return 0, false
}

func pseudoTerminal(st *unix.Stat_t) bool {
	major := unix.Major(st.Rdev)
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && major >= 136 && major <= 143
}

// maxTold bounds the line, in bytes: a pipe takes that much whole or not at all.
const maxTold = 500

func quoted(x *ebpf.Exec) string {
	words := x.Args()
	if len(words) == 0 {
		words = []string{x.Path}
	}
	words[0] = filepath.Base(words[0])
	// One line, whatever argv holds: what reads it may take lines for statements.
	text := strings.ReplaceAll(strings.Join(words, " "), "\n", "?")
	if len(text) > 120 {
		text = text[:120] + "..."
	}
	return fmt.Sprintf("`%s`", text)
}

// clean makes one line of text, and keeps a terminal from being driven, or written
// from right to left, by what an agent put into argv.
func clean(s string) string {
	s, ended := strings.CutSuffix(s, "\n")
	s = strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
	if ended {
		s += "\n"
	}
	if len(s) > maxTold {
		s = s[:maxTold-4] + "...\n"
	}
	return s
}

// plain file systems: a write there has no effect but the bytes. In procfs or
// cgroupfs it would be made with the daemon's rights.
var plain = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true,
}

// writeNow writes to what takes the bytes at once, for the process of x.
func writeNow(fd int, b []byte, x *ebpf.Exec) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		sendNow(fd, b, x)
		return
	case unix.S_IFREG:
		var fs unix.Statfs_t
		if unix.Fstatfs(fd, &fs) == nil && plain[fs.Type] {
			_, _ = unix.Write(fd, b)
		}
		return
	case unix.S_IFIFO:
	case unix.S_IFCHR:
		if !pseudoTerminal(&st) {
			return
		}
	default:
		return
	}
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, 0); err != nil || n != 1 || ready[0].Revents&unix.POLLOUT == 0 {
		return
	}
	_, err := unix.Pwritev2(fd, [][]byte{b}, -1, unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP || err == unix.EINVAL {
		writeSoon(fd, b)
	}
}

// sendNow writes to a unix socket, which is where many agents read their
// commands' errors. A service may be at its other end that goes by who the
// kernel says has spoken, as the service manager does: so it is told, by the
// message itself, that it was the process.
func sendNow(fd int, b []byte, x *ebpf.Exec) {
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_UNIX {
		return
	}
	sender := unix.UnixCredentials(&unix.Ucred{Pid: int32(x.PID), Uid: x.UID, Gid: x.GID})
	_ = unix.Sendmsg(fd, b, sender, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) // best effort: the event tells it too
}

// writers bounds what may wait on a pipe that somebody filled on purpose.
var writers = make(chan struct{}, 8)

// writeSoon is for kernels that cannot write to a pipe without waiting (before
// 6.5): there was room a moment ago, so it will not wait unless a sibling takes
// that room first, and then it is left behind.
func writeSoon(fd int, b []byte) {
	select {
	case writers <- struct{}{}:
	default:
		return
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		<-writers
		return
	}
	done := make(chan struct{})
	go func() {
		_, _ = unix.Write(own, b)
		unix.Close(own)
		<-writers
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Millisecond):
	}
}
