// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/sandbox"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// A session that `paddock run` starts can be put into a Landlock domain before its
// first instruction. Where no programs can be attached to security hooks, that is its
// boundary, as far as a list of what is allowed can say one: what is protected inside
// a place that may be written to cannot be said, nor which program of a session is
// the agent's own.

// tierLandlock is how those gates work.
const tierLandlock = "landlock"

// Devices that are none of anybody's: their content may be written.
var harmlessDevices = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/console",
}

// landlocked says whether a session can have its boundary by Landlock alone. A guard is
// none that Landlock knows: what it would add is that no program gains rights.
func (e *Enforcer) landlocked(g *generation) bool {
	return e.canary.mechanism() == ebpf.None && g.limits.Mode != policy.NoBoundary && !g.limits.Guard && !g.limits.NoLandlock && sandbox.Version() > 0
}

// Sandbox returns what a session's first process must enter before it becomes what it
// is to run. nil: nothing, since the boundary holds without it, there is none, or it
// only observes.
func (e *Enforcer) Sandbox(s *session.Session) (*sandbox.Ruleset, error) {
	e.apply.Lock()
	defer e.apply.Unlock()
	g := e.now.Load()
	if !e.landlocked(g) || g.mode != policy.Enforce {
		return nil, nil //nolint:nilnil // documented
	}
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	who, err := readCredentials(s.Root.PID)
	if err != nil {
		return nil, fmt.Errorf("the sandbox of session %s: %w", s.ID, err)
	}
	own := e.ofSession(g.limits, e.projectOf(s.Key, g.limits, s), s.UID)
	r := &sandbox.Ruleset{Reading: true, Writing: g.limits.Mode != policy.FullAccess}
	var secret, places, its []string
	protected := map[string]bool{}
	agent := agentNumber(s.Agent)
	for _, w := range append(own.files, g.boundary.files...) {
		switch {
		case w.bound.Flags&ebpf.BoundAgent != 0 && (w.bound.Agent == 0 || w.bound.Agent == agent):
			its = append(its, w.path) // and what it starts has it as well
		case below(w.path, "/proc"), below(w.path, "/sys"): // what is there comes and goes: there is nothing around it
		case w.bound.Flags&ebpf.BoundUnreadable != 0:
			secret = append(secret, elsewhere(all, w.path)...)
		case w.bound.Flags&ebpf.BoundProtected != 0:
			protected[w.path] = true
		case w.bound.Flags&ebpf.BoundWrite != 0:
			places = append(places, w.path)
		}
	}
	r.Read, err = look(&e.lookups, "around what may not be read", func() ([]string, error) {
		denied := slices.DeleteFunc(secret, func(p string) bool { return !who.mayRead(p) })
		return sandbox.Around(denied)
	})
	if err != nil {
		return nil, fmt.Errorf("the sandbox of session %s: %w", s.ID, err)
	}
	if g.limits.Mode == policy.WorkspaceWrite {
		its = append(its, places...)
	}
	if r.Writing {
		// At the same place, protected counts.
		r.Write = slices.DeleteFunc(its, func(p string) bool { return protected[p] })
		r.Devices = harmlessDevices
		if who.uid != 0 && !who.privileged { // what in /proc is a process's own, the kernel guards; of root's, the machine's settings are
			r.Devices = append(r.Devices[:len(r.Devices):len(r.Devices)], "/proc")
		}
	}
	return r, nil
}

// elsewhere lists every path at which a file, or what it lies in, is mounted: a
// domain knows places, and not what is in them.
func elsewhere(all []mounted, path string) []string {
	out := []string{path}
	at := mountOf(all, path)
	inside := join(at.root, strings.TrimPrefix(path, strings.TrimSuffix(at.point, "/")))
	for _, m := range all {
		switch {
		case m.dev != at.dev || m.point == at.point && m.root == at.root:
		case below(inside, m.root):
			out = append(out, join(m.point, strings.TrimPrefix(inside, strings.TrimSuffix(m.root, "/"))))
		case below(m.root, inside):
			out = append(out, m.point)
		}
	}
	return out
}

func join(dir, rest string) string {
	if rest == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + rest
}

// credentials are those of a process that cannot gain others any more.
type credentials struct {
	uid        uint32
	groups     map[uint32]bool
	privileged bool // it has capabilities
}

func readCredentials(pid int) (credentials, error) {
	c := credentials{groups: map[uint32]bool{}}
	raw, err := readProc(pid, "status", 64<<10)
	if err != nil {
		return c, fmt.Errorf("reading who process %d is: %w", pid, err)
	}
	for line := range strings.Lines(string(raw)) {
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		switch key {
		case "Uid", "Gid", "Groups":
			for _, f := range fields {
				n, err := strconv.ParseUint(f, 10, 32)
				if err != nil {
					return c, fmt.Errorf("reading who process %d is: %s %q", pid, key, f)
				}
				if key != "Uid" {
					c.groups[uint32(n)] = true
					continue
				}
				if c.uid = uint32(n); n == 0 { // real, effective or saved
					c.privileged = true
				}
			}
		case "CapPrm", "CapEff", "CapInh", "CapAmb":
			c.privileged = c.privileged || len(fields) != 1 || strings.Trim(fields[0], "0") != ""
		}
	}
	return c, nil
}

// mayRead says whether permissions let somebody read a file; if in doubt, they do.
// What they do not, nobody needs to be kept from, and the directory it lies in stays
// as open as it is.
func (c credentials) mayRead(path string) bool {
	if c.privileged {
		return true
	}
	for want := uint32(4); ; want = 1 { // to read it, and to pass every directory above
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return true
		}
		if n, _ := unix.Lgetxattr(path, "system.posix_acl_access", nil); n > 0 {
			return true
		}
		if st.Uid != c.uid && st.Mode&want == 0 && (st.Mode&(want<<3) == 0 || !c.groups[st.Gid]) {
			return false
		}
		cut := strings.LastIndexByte(path, '/')
		if cut <= 0 {
			return true
		}
		path = path[:cut]
	}
}
