// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is a terminal by its device number.
type terminal struct{ major, minor uint32 }

// Majors of pseudo-terminals' slaves; Linux gives out the first.
const (
	firstPTS = 136
	lastPTS  = 143
)

func (t terminal) pseudo() bool { return t.major >= firstPTS && t.major <= lastPTS }

func (t terminal) name() string {
	if t.pseudo() {
		return fmt.Sprintf("pts/%d", t.minor)
	}
	if t.major == 4 && t.minor < 64 {
		return fmt.Sprintf("tty%d", t.minor)
	}
	return fmt.Sprintf("%d:%d", t.major, t.minor)
}

// procStat is what /proc/PID/stat says of a process and its terminal.
type procStat struct {
	parent     int
	group      int
	terminal   terminal
	foreground int // process group
}

func statOf(pid int) (procStat, error) {
	raw, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return procStat{}, err
	}
	// comm may hold anything, parentheses too: it ends at the last one
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 6 {
		return procStat{}, fmt.Errorf("reading /proc/%d/stat: %d fields", pid, len(fields))
	}
	var n [6]int
	for i := 1; i < 6; i++ {
		if n[i], err = strconv.Atoi(fields[i]); err != nil {
			return procStat{}, fmt.Errorf("reading /proc/%d/stat: field %q", pid, fields[i])
		}
	}
	dev := uint32(n[4])
	return procStat{
		parent: n[1], group: n[2], foreground: n[5],
		terminal: terminal{major: dev >> 8 & 0xfff, minor: dev&0xff | dev>>12&0xfff00},
	}, nil
}

// terminalOf returns the controlling terminal of a process that is in its foreground:
// what is typed there, it reads.
func terminalOf(pid int) (terminal, error) {
	st, err := statOf(pid)
	if err != nil {
		return terminal{}, refuse("process %d has ended", pid)
	}
	switch {
	case st.terminal == terminal{}:
		return terminal{}, refuse("it was given without a terminal: a person answers in a notification, or on a terminal")
	case st.foreground != st.group:
		return terminal{}, refuse("process %d is not in the foreground of its terminal", pid)
	}
	return st.terminal, nil
}

// reachedBy reports whether a process can write to the terminal, or type there.
func (t terminal) reachedBy(pid int) bool {
	if st, err := statOf(pid); err == nil && st.terminal == t {
		return true
	}
	found := false
	eachFile(pid, func(fd string, st *unix.Stat_t) bool {
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			is := terminal{unix.Major(st.Rdev), unix.Minor(st.Rdev)}
			found = is == t || t.masteredBy(pid, fd, st)
		}
		return !found
	})
	return found
}

// masteredBy reports whether an open file of a process is the other end of the
// pseudo-terminal.
func (t terminal) masteredBy(pid int, fd string, st *unix.Stat_t) bool {
	const ttyaux, ptmx = 5, 2
	if !t.pseudo() || unix.Major(st.Rdev) != ttyaux || unix.Minor(st.Rdev) != ptmx {
		return false
	}
	raw, err := os.ReadFile(procFile(pid, "fdinfo/"+fd))
	if err != nil {
		return false
	}
	index, err := field(raw, "tty-index:")
	return err == nil && index == uint64(t.minor)
}

// maxAncestors bounds the way from a process to init.
const maxAncestors = 256

// checkOtherEnd refuses a pseudo-terminal unless whoever holds its other end has
// started the process (a terminal program, sshd, tmux), and was not reached from this
// machine itself: an agent that connects to its own machine is not a person.
func (t terminal) checkOtherEnd(pid int, governed []int) error {
	if !t.pseudo() {
		return nil
	}
	for range maxAncestors {
		st, err := statOf(pid)
		if err != nil || st.parent <= 0 {
			break
		}
		pid = st.parent
		if slices.Contains(governed, pid) {
			return refuse("process %d, which it descends from, is an agent's", pid)
		}
		holds := false
		eachFile(pid, func(fd string, st *unix.Stat_t) bool {
			holds = st.Mode&unix.S_IFMT == unix.S_IFCHR && t.masteredBy(pid, fd, st)
			return !holds
		})
		if !holds {
			continue
		}
		if from, ok := reachedFromHere(pid); ok {
			return refuse("the terminal %s is reached from this machine itself (%s)", t.name(), from)
		}
		return nil
	}
	return refuse("nothing that started process %d shows the terminal %s", pid, t.name())
}

// eachFile calls f for the open files of a process until it returns false. Files that
// cannot be looked at are left out.
func eachFile(pid int, f func(fd string, st *unix.Stat_t) bool) {
	dir := procFile(pid, "fd")
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // what there was until an error
	for _, fd := range names {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, fd), &st) == nil && !f(fd, &st) {
			return
		}
	}
}

// reachedFromHere reports whether a process has a TCP connection whose other end is
// this machine, and which.
func reachedFromHere(pid int) (string, bool) {
	sockets := map[uint64]bool{}
	eachFile(pid, func(_ string, st *unix.Stat_t) bool {
		if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			sockets[st.Ino] = true
		}
		return true
	})
	if len(sockets) == 0 {
		return "", false
	}
	own := ownAddresses()
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		raw, err := os.ReadFile(procFile(pid, name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(raw)) {
			c, ok := parseTCP(line)
			if ok && sockets[c.inode] && (c.remote.Addr().IsLoopback() || c.remote.Addr() == c.local.Addr() || own[c.remote.Addr()]) {
				return c.remote.String(), true
			}
		}
	}
	return "", false
}

func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return own
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	return own
}

// tcpConnection is a line of /proc/net/tcp.
type tcpConnection struct {
	local, remote netip.AddrPort
	inode         uint64
}

// parseTCP reads a line of /proc/net/tcp or tcp6 (Documentation/networking/proc_net_tcp.rst),
// of a connection that is established.
func parseTCP(line string) (tcpConnection, bool) {
	const established = "01"
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != established {
		return tcpConnection{}, false
	}
	var c tcpConnection
	var ok1, ok2 bool
	c.local, ok1 = parseHexAddr(f[1])
	c.remote, ok2 = parseHexAddr(f[2])
	inode, err := strconv.ParseUint(f[9], 10, 64)
	c.inode = inode
	return c, ok1 && ok2 && err == nil
}

// parseHexAddr reads an address as the kernel prints it: words of four bytes, each in
// the order of the processor, which is little-endian on all Paddock runs on.
func parseHexAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	if !ok || len(host) != 8 && len(host) != 32 {
		return netip.AddrPort{}, false
	}
	raw := make([]byte, len(host)/2)
	for i := range raw {
		b, err := strconv.ParseUint(host[2*i:2*i+2], 16, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		raw[i/4*4+3-i%4] = byte(b)
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok && err == nil
}

// statusNumber reads a number of /proc/PID/status.
func statusNumber(pid int, name string) (uint64, error) {
	raw, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return 0, err
	}
	return field(raw, name)
}

// field reads the number of a line that begins with name.
func field(raw []byte, name string) (uint64, error) {
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: %w", name, errNoField)
}
