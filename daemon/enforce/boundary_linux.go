// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Policy speaks of paths, the kernel side of inodes and of names in directories.
// What is translated here holds for a file however it is reached; a name holds also
// for what is put into its place later.

// boundary is a policy's boundary, translated.
type boundary struct {
	policy policy.Boundary
	bounds ebpf.Bounds
	homes  []string
	// files are the places it speaks of, by their paths.
	files []wanted
	// scanned are the paths that patterns with ** matched.
	scanned map[string][]string
	// kept are open files of file systems whose inodes have numbers only as long as
	// somebody uses them (overlays).
	kept []*os.File
	// skipped are paths the daemon could not look at.
	skipped []error
}

func (b *boundary) close() {
	for _, f := range b.kept {
		f.Close()
	}
}

var kernelModes = map[policy.SandboxMode]ebpf.BoundaryMode{
	policy.NoBoundary: ebpf.BoundaryNone, policy.ReadOnly: ebpf.BoundaryReadOnly,
	policy.WorkspaceWrite: ebpf.BoundaryWorkspace, policy.FullAccess: ebpf.BoundaryFull,
}

var kernelKinds = map[policy.PathKind]ebpf.BoundFlags{
	policy.Writable: ebpf.BoundWrite, policy.Protected: ebpf.BoundProtected,
	policy.Unreadable: ebpf.BoundUnreadable, policy.Broker: ebpf.BoundBroker,
}

// newBoundary translates. own are Paddock's own files and directories, and what
// manages agents: protected in every mode. What patterns with ** match is taken from
// scanned, as far as it is there.
func newBoundary(ctx context.Context, k *ebpf.Kernel, l *lookups, b policy.Boundary, own []string, scanned map[string][]string) (*boundary, error) {
	out := &boundary{policy: b, scanned: map[string][]string{}}
	if b.Mode == policy.NoBoundary {
		return out, nil
	}
	r := &resolver{ctx: ctx, kernel: k, lookups: l, before: scanned, scanned: out.scanned}
	out.homes = r.homes()
	r.at = out.homes
	for _, rule := range b.Rules() {
		if rule.Relative() {
			continue // the sessions' own
		}
		for _, p := range inHomes(rule.Text, out.homes) {
			r.add(p, boundOf(rule))
		}
	}
	for _, p := range own {
		r.add(p, ebpf.Bound{Flags: ebpf.BoundProtected | ebpf.BoundOurs})
	}
	var err error
	out.bounds, out.kept, err = r.resolve()
	out.skipped, out.files = r.skipped, r.files
	if err == nil && ctx.Err() != nil {
		out.close()
		err = ctx.Err() // something may be missing
	}
	return out, err
}

// boundOf is what a rule means to the kernel.
func boundOf(rule policy.PathRule) ebpf.Bound {
	b := ebpf.Bound{Flags: kernelKinds[rule.Kind]}
	switch rule.Agent {
	case "":
	case policy.AnyAgent:
		b.Flags |= ebpf.BoundAgent
	default:
		b.Flags |= ebpf.BoundAgent
		b.Agent = agentNumber(rule.Agent)
	}
	return b
}

// agentNumber is an agent's name as a number that is not 0.
func agentNumber(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() | 1
}

// homes lists the home directories of this machine: of the accounts it has itself,
// and what lies in /home, since directory services do not tell all their users.
func (r *resolver) homes() []string {
	var all []string
	if f, err := os.Open("/etc/passwd"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Split(lines.Text(), ":")
			if len(fields) < 7 {
				continue
			}
			uid, err := strconv.Atoi(fields[2])
			if err == nil && (uid == 0 || uid >= 1000) && uid != 65534 && fields[5] != "/" {
				all = append(all, filepath.Clean(fields[5]))
			}
		}
	}
	found, _ := filepath.Glob("/home/*") // only a bad pattern errs; what is there is not looked at
	slices.Sort(all)
	var out []string
	for _, dir := range slices.Compact(append(all, found...)) {
		// From here on, no link on the way is one of root's.
		real, err := look(r.lookups, dir, func() (string, error) {
			real, err := filepath.EvalSymlinks(dir)
			if err != nil {
				return "", err
			}
			if info, err := os.Stat(real); err != nil || !info.IsDir() {
				return "", fs.ErrNotExist
			}
			return real, nil
		})
		switch {
		case err == nil:
			out = append(out, real)
		case errors.Is(err, errHangs):
			r.skipped = append(r.skipped, err)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func inHomes(pattern string, homes []string) []string {
	rest, ok := strings.CutPrefix(pattern, "~/")
	if !ok {
		return []string{pattern}
	}
	var out []string
	for _, h := range homes {
		out = append(out, filepath.Join(h, rest))
	}
	return out
}

// refreshEvery is how often the paths of a boundary are looked up anew: services
// come, and directories are made where there were none.
const refreshEvery = 10 * time.Second

// refreshBoundary puts what its paths lead to now into force, if that is anything
// else. With scan, also what patterns with ** match.
func (e *Enforcer) refreshBoundary(scan bool) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	if err := e.protectCompanion(); err != nil {
		e.Log.Error("sessions can end the companion", "error", err)
	}
	g := e.now.Load()
	if g == nil || g.boundary.policy.Mode == policy.NoBoundary {
		return nil
	}
	scanned := g.boundary.scanned
	if scan {
		scanned = nil
	}
	b, err := newBoundary(e.ctx, e.Kernel, &e.lookups, g.boundary.policy, e.own(), scanned)
	if e.ctx.Err() != nil {
		if err == nil {
			b.close()
		}
		return nil // the next daemon looks
	}
	if err != nil {
		return fmt.Errorf("looking up the boundary anew: %w", err)
	}
	if slices.ContainsFunc(b.skipped, func(err error) bool { return errors.Is(err, errHangs) }) {
		b.remember(g.boundary) // what was known of a place holds while it hangs
	}
	if e.opens.active() {
		// Secrets that are new are known below; here, what is new in those that are not.
		if err := e.opens.again(g.boundary.unreadable()); err != nil {
			e.Log.Error("marking what may not be read", "error", err)
		}
	}
	if maps.Equal(b.bounds.Files, g.boundary.bounds.Files) && maps.Equal(b.bounds.Names, g.boundary.bounds.Names) {
		b.close()
		return nil
	}
	next := *g
	next.boundary = b
	if err := e.putInForce(&next); err != nil {
		b.close()
		return fmt.Errorf("looking up the boundary anew: %w", err)
	}
	g.boundary.close()
	return e.watchOpens(b)
}

// remember adds what an earlier look found and this one did not.
func (b *boundary) remember(earlier *boundary) {
	for id, bound := range earlier.bounds.Files {
		if _, known := b.bounds.Files[id]; !known {
			b.bounds.Add(id, bound)
		}
	}
	for name, bound := range earlier.bounds.Names {
		if _, known := b.bounds.Names[name]; !known {
			b.bounds.AddName(name, bound)
		}
	}
}

// unreadable lists the places that may not be read.
func (b *boundary) unreadable() []wanted {
	return slices.DeleteFunc(slices.Clone(b.files), func(w wanted) bool { return w.bound.Flags&ebpf.BoundUnreadable == 0 })
}

// own lists what is protected in every mode.
func (e *Enforcer) own() []string { return append(slices.Clone(e.Own), e.PinDir) }
