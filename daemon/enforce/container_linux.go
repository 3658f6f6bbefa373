// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// view is what the files of a container look like from outside of it: paths in it mean
// something else than to the daemon. Nil is the daemon's own view.
type view struct {
	theirs, ours []mounted
}

// viewOf returns the view of a process, if somebody outside of every user namespace gave
// it one: a session cannot have chosen what is where in it, unless it is root's.
func viewOf(pid int) *view {
	theirs := readLink(pid, "ns/mnt")
	if theirs == "" || theirs == readLink(os.Getpid(), "ns/mnt") || !machines(pid) {
		return nil
	}
	data, err := readProc(pid, "mountinfo", 1<<22)
	if err != nil {
		return nil
	}
	ours, err := mounts()
	if err != nil {
		return nil
	}
	return &view{theirs: parseMounts(data), ours: ours}
}

// machines says whether a process's view of what is mounted belongs to the machine, and
// to no user namespace.
func machines(pid int) bool {
	f, err := os.Open(procPath(pid, "ns/mnt"))
	if err != nil {
		return false
	}
	defer f.Close()
	owner, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer unix.Close(owner)
	var first, is unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &first) == nil && unix.Fstat(owner, &is) == nil && first.Ino == is.Ino && first.Dev == is.Dev
}

// at is where the daemon finds what is at a path in the view; empty: nowhere.
func (v *view) at(path string) string {
	if v == nil {
		return path
	}
	there := mountOf(v.theirs, path)
	here := pathOn(v.ours, there.dev, join(there.root, strings.TrimPrefix(path, strings.TrimSuffix(there.point, "/"))))
	if here == "" || mountOf(v.ours, here).dev != there.dev {
		return "" // or something else is mounted over it
	}
	return here
}

// opens says whether a session may have a place of its own there: in what is the
// container's alone, and not where something of the machine's is mounted in it.
func (v *view) opens(b policy.Boundary, here string, uid uint32) bool {
	m := mountOf(v.ours, here)
	return len(m.layers) > 0 && m.point != "/" && !b.Keeps(here, homeOf(uid))
}

// home is a user's home directory in the view.
func (v *view) home(uid uint32) string {
	if v == nil {
		return homeOf(uid)
	}
	for line := range strings.Lines(readSmall(v.at("/etc/passwd"), 1<<20)) {
		if fields := strings.Split(line, ":"); len(fields) > 6 && fields[2] == fmt.Sprint(uid) && filepath.IsAbs(fields[5]) {
			return filepath.Clean(fields[5])
		}
	}
	return ""
}

// places adds to a session's own what the rules mean in its view. What patterns with **
// match there is not looked for.
func (r *resolver) places(b policy.Boundary, v *view, uid uint32) {
	homes := []string{"/root"}
	if home := v.home(uid); home != "" && home != "/" && home != "/root" {
		homes = append(homes, home)
	}
	for _, rule := range b.Rules() {
		if rule.Relative() || strings.Contains(strings.TrimSuffix(rule.Text, "/**"), "**") {
			continue
		}
		for _, path := range inHomes(rule.Text, homes) {
			here, bound := v.at(path), boundOf(rule)
			if here == "" || bound.Flags&(ebpf.BoundWrite|ebpf.BoundAgent) != 0 && !v.opens(b, here, uid) {
				continue
			}
			r.add(here, bound)
		}
	}
}

// readSmall reads a file that somebody else may have made; of one that is none, nothing.
func readSmall(path string, limit int64) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	data, _ := io.ReadAll(io.LimitReader(f, limit)) // cut short: then it fits nothing
	return string(data)
}
