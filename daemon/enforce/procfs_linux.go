// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/seed-649e9bbc/paddock/daemon/session"
)

// Bounds on what is read of a process, in bytes: the kernel's own limit on argv
// and environment together is a quarter of the stack limit, 2 MiB by default.
const (
	maxCmdline = 16 << 20
	maxEnviron = 16 << 20
)

func itoa(n int) string { return strconv.Itoa(n) }

func procPath(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

func readProc(pid int, name string, limit int64) ([]byte, error) {
	f, err := os.Open(procPath(pid, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// readCmdline splits /proc/PID/cmdline. An empty argument is kept.
func readCmdline(pid int) ([]string, error) {
	raw, err := readProc(pid, "cmdline", maxCmdline)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	return strings.Split(string(bytes.TrimSuffix(raw, []byte{0})), "\x00"), nil
}

// readEnv returns those of the wanted variables that a process was started with.
func readEnv(pid int, wanted []string) map[string]string {
	raw, err := readProc(pid, "environ", maxEnviron)
	if err != nil {
		return nil
	}
	env := map[string]string{}
	for entry := range bytes.SplitSeq(raw, []byte{0}) {
		key, value, ok := bytes.Cut(entry, []byte{'='})
		if ok && slices.Contains(wanted, string(key)) {
			env[string(key)] = string(value)
		}
	}
	return env
}

func readLink(pid int, name string) string {
	target, err := os.Readlink(procPath(pid, name))
	if err != nil {
		return ""
	}
	return target
}

// stat is what /proc/PID/stat says.
type stat struct {
	ppid  int
	start uint64 // ns since boot, as exact as the kernel shows it (10 ms)
}

const tick = 10_000_000 // ns; USER_HZ is 100 on every platform Paddock runs on

func readStat(pid int) (stat, error) {
	raw, err := readProc(pid, "stat", 4096)
	if err != nil {
		return stat{}, err
	}
	// comm may hold anything, parentheses too: it ends at the last one
	i := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[i+1:]))
	if i < 0 || len(fields) < 20 {
		return stat{}, fmt.Errorf("reading /proc/%d/stat: %d fields", pid, len(fields))
	}
	ppid, err1 := strconv.Atoi(fields[1])
	start, err2 := strconv.ParseUint(fields[19], 10, 64)
	if err1 != nil || err2 != nil {
		return stat{}, fmt.Errorf("reading /proc/%d/stat: parent %q, start %q", pid, fields[1], fields[19])
	}
	return stat{ppid: ppid, start: start * tick}, nil
}

// pids lists all processes.
func pids() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out, nil
}

// ownerOf is the real user of a process. The owner of its directory is not: that is
// root's for a process that has made itself undumpable.
func ownerOf(pid int) uint32 {
	uid, _ := usersOf(pid)
	return uid
}

// usersOf are the real and the effective user of a process; of one that has ended, root.
func usersOf(pid int) (uid, effective uint32) {
	raw, err := readProc(pid, "status", 64<<10)
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			if n, err := fmt.Sscan(rest, &uid, &effective); n == 2 && err == nil {
				return uid, effective
			}
		}
	}
	return 0, 0
}

// users caches user names, which may come from a directory service.
type users struct{ names sync.Map }

func (u *users) name(uid uint32) string {
	if n, ok := u.names.Load(uid); ok {
		return n.(string)
	}
	name := ""
	if found, err := user.LookupId(strconv.Itoa(int(uid))); err == nil {
		name = found.Username
	}
	u.names.Store(uid, name)
	return name
}

// describe collects what recognition looks at, of a process that may be running.
func (e *Enforcer) describe(pid int) session.Process {
	p := session.Process{
		PID: pid, UID: ownerOf(pid), Exe: readLink(pid, "exe"), Cwd: readLink(pid, "cwd"),
		Env: readEnv(pid, e.envKeys),
	}
	p.User = e.users.name(p.UID)
	p.Args, _ = readCmdline(pid)
	if st, err := readStat(pid); err == nil {
		p.Start = st.start
		if st.ppid > 0 {
			p.ParentExe = readLink(st.ppid, "exe")
			p.ParentArgs, _ = readCmdline(st.ppid)
		}
	}
	return p
}

// script resolves the script an interpreter was given, as the process sees it.
func (e *Enforcer) script(p session.Process, profiles *session.Profiles) string {
	arg, ok := profiles.ScriptArgument(p)
	if !ok {
		return ""
	}
	if !filepath.IsAbs(arg) {
		arg = filepath.Join(p.Cwd, arg)
	}
	root := procPath(p.PID, "root")
	resolved, err := filepath.EvalSymlinks(filepath.Join(root, arg))
	if err != nil {
		return arg
	}
	return strings.TrimPrefix(resolved, root)
}
