// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// procInfo is what /proc says of a process.
type procInfo struct {
	pid, ppid int
	state     string
	cwd       string
	args      []string
}

// processes lists those that keep accepts.
func processes(t *testing.T, keep func(procInfo) bool) []procInfo {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	var out []procInfo
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + e.Name()
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // gone
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		p := procInfo{pid: pid, state: fields[0]}
		p.ppid, _ = strconv.Atoi(fields[1])
		p.cwd, _ = os.Readlink(dir + "/cwd")
		line, _ := os.ReadFile(dir + "/cmdline")
		p.args = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if keep(p) {
			out = append(out, p)
		}
	}
	return out
}

// stopped lists the instance's processes that are stopped.
func (m *machine) stopped() []procInfo {
	m.t.Helper()
	return processes(m.t, func(p procInfo) bool { return p.state == "T" && strings.HasPrefix(p.cwd, m.dir) })
}

// guards lists the guards of the instance.
func (m *machine) guards() []procInfo {
	m.t.Helper()
	return processes(m.t, func(p procInfo) bool {
		return len(p.args) == 6 && p.args[1] == "helper" && p.args[2] == "guard" && p.args[3] == m.pins()
	})
}

// handle follows a process that is not our child.
type handle struct {
	t  *testing.T
	fd int
}

func hold(t *testing.T, pid int) handle {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return handle{t, fd}
}

// gone waits until it has ended.
func (h handle) gone(what string) {
	h.t.Helper()
	ms := int(waitLimit().Milliseconds())
	fds := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, ms)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(h.t, err)
		if n == 0 {
			h.t.Fatalf("%s does not end", what)
		}
		return
	}
}

// stops waits until a child of ours is stopped.
func stops(t *testing.T, pid int) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil)
			if !errors.Is(err, unix.EINTR) {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("process %d, which should have stopped: %v", pid, err)
		}
	case <-after():
		t.Fatalf("process %d does not stop", pid)
	}
}

// memory reads a line of /proc/PID/status, in MiB.
func memory(t *testing.T, pid int, line string) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, found := strings.Cut(string(status), line+":")
	if !found {
		t.Fatalf("no %s in %s", line, status)
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return float64(kib) / 1024
}
