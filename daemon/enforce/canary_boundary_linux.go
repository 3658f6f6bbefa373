// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// canaryPlaceEnv tells the canary where it may try what the boundary refuses.
const canaryPlaceEnv = "PADDOCK_CANARY_PLACE"

// canaryPlace is a directory for the canary: a part it may write to, one it may
// not, and one it may not even read.
type canaryPlace struct {
	dir    string
	bounds ebpf.Bounds
	listen []net.Listener
	box    string // a sandbox for the canary to enter; empty: none
}

// What lies in the place.
const (
	placeIn     = "in"
	placeOut    = "out"
	placeSecret = "secret"
	placeFile   = "file"
	placeSocket = "socket"
)

func (e *Enforcer) newCanaryPlace() (*canaryPlace, error) {
	dir, err := os.MkdirTemp("", "paddock-canary-")
	if err != nil {
		return nil, fmt.Errorf("making a place for the canary: %w", err)
	}
	p := &canaryPlace{dir: dir}
	for _, name := range []string{placeIn, placeOut, placeSecret} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			p.close()
			return nil, fmt.Errorf("making a place for the canary: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, placeFile), []byte("canary\n"), 0o600); err != nil {
			p.close()
			return nil, fmt.Errorf("making a place for the canary: %w", err)
		}
	}
	for _, address := range []string{filepath.Join(dir, placeSecret, placeSocket), "@" + dir} {
		l, err := net.Listen("unix", address)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("making a service for the canary: %w", err)
		}
		p.listen = append(p.listen, l)
	}
	// Protected, since policy may let sessions write where temporary files are.
	r := &resolver{kernel: e.Kernel, lookups: &e.lookups, files: []wanted{
		{path: dir, bound: ebpf.Bound{Flags: ebpf.BoundProtected}},
		{path: filepath.Join(dir, placeIn), bound: ebpf.Bound{Flags: ebpf.BoundWrite}},
		{path: filepath.Join(dir, placeSecret), bound: ebpf.Bound{Flags: ebpf.BoundUnreadable}},
	}}
	var kept []*os.File
	if p.bounds, kept, err = r.resolve(); err != nil {
		p.close()
		return nil, fmt.Errorf("identifying the canary's place: %w", err)
	}
	for _, f := range kept { // the directory stays as long as the canary needs it
		f.Close()
	}
	return p, nil
}

func (p *canaryPlace) close() {
	for _, l := range p.listen {
		l.Close()
	}
	_ = os.RemoveAll(p.dir) // in the directory for temporary files: no harm if it stays
}

func (e *Enforcer) unbindCanary() {
	if err := e.Kernel.EndBoundary(canarySession); err != nil {
		e.Log.Error("forgetting the canary's boundary", "error", err)
	}
}

// proveBoundary puts the boundary into force if requirements have one, or what is left
// of it while people are asked, and sends the canary to try it.
func (e *Enforcer) proveBoundary(ctx context.Context, m ebpf.Mechanism, why string) []Gate {
	g := e.now.Load()
	if g == nil || g.boundary.policy.Mode == policy.NoBoundary {
		e.Kernel.DetachBoundary()
		e.opens.end()
		return nil
	}
	part := ebpf.Whole
	if g.boundary.policy.Guard {
		part = ebpf.GuardOnly
	}
	if m == ebpf.None && part == ebpf.Whole {
		return e.proveWithout(ctx, g, why)
	}
	e.opens.end()
	if m == ebpf.None {
		return judgeBounds(nil, m, part, why, time.Now())
	}
	tried, err := e.tryBoundary(ctx, m, part)
	if err != nil {
		why = firstLine(err)
		e.Log.Error("the boundary is not proven", "mechanism", string(m), "error", err)
	}
	return judgeBounds(tried, m, part, why, time.Now())
}

func (e *Enforcer) tryBoundary(ctx context.Context, m ebpf.Mechanism, part ebpf.Part) (map[string]string, error) {
	if err := e.Kernel.AttachBoundary(m, part); err != nil {
		return nil, err
	}
	place, err := e.newCanaryPlace()
	if err != nil {
		return nil, err
	}
	defer place.close()
	seen, err := e.releaseTo(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("sending the canary to the boundary: %w", err)
	}
	return seen.Bounds, nil
}

// proof is the answers that prove a gate, by attempt.
type proof struct {
	gate  string
	want  map[string]string
	guard bool // of ebpf.GuardOnly too
}

// judge compares. Without any answers, why says why there are none.
func (p proof) judge(tried map[string]string, tier, why string, now time.Time) Gate {
	g := Gate{Gate: p.gate, Tier: tier, Proven: true, Checked: now}
	var wrong []string
	for _, what := range slices.Sorted(maps.Keys(p.want)) {
		if got, want := tried[what], p.want[what]; got != want {
			wrong = append(wrong, fmt.Sprintf("%s: %q, expected %q", what, got, want))
		}
	}
	if len(wrong) > 0 {
		g.Proven, g.Tier, g.Detail = false, string(ebpf.None), strings.Join(wrong, "; ")
		if len(tried) == 0 {
			g.Detail = why
		}
	}
	return g
}

// The answers that prove a gate of the boundary, by attempt.
var boundaryProofs = []proof{
	{gate: "boundary", want: map[string]string{
		"write inside": "done", "create inside": "done", "write": "EROFS", "create": "EROFS", "remove": "EROFS", "rename away": "EROFS",
		"rename in": "EROFS", "link": "EROFS", "truncate": "EROFS", "mode": "EROFS", "attribute": "EROFS", "directory": "EROFS",
		"symlink": "EROFS", "read": "done", "read secret": "EACCES", "list secret": "EACCES",
	}},
	{gate: "unix", guard: true, want: map[string]string{"socket of a path": "EACCES", "abstract socket": "EACCES"}},
	{gate: "ptrace", guard: true, want: map[string]string{"memory of init": saidEPERM}},
	{gate: "machine", want: map[string]string{"bpf": saidEPERM, "mount": saidEPERM}},
}

func judgeBounds(tried map[string]string, m ebpf.Mechanism, part ebpf.Part, why string, now time.Time) []Gate {
	var out []Gate
	for _, p := range boundaryProofs {
		if part == ebpf.Whole || p.guard {
			out = append(out, p.judge(tried, string(m), why, now))
		}
	}
	return out
}

// tryBounds is the canary's part: it tries what the boundary is to refuse, in a
// place of its own, and undoes what it should not have been able to do.
func tryBounds(dir string) map[string]string {
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	out := trySecrets(dir)
	try := func(what string, err error) { out[what] = said(err) }
	try("write inside", open(at(placeIn, placeFile), unix.O_RDWR))
	try("create inside", open(at(placeIn, "new"), unix.O_RDWR|unix.O_CREAT))
	try("write", open(at(placeOut, placeFile), unix.O_WRONLY))
	try("create", open(at(placeOut, "new"), unix.O_WRONLY|unix.O_CREAT))
	try("rename away", unix.Rename(at(placeOut, placeFile), at(placeIn, "taken")))
	try("rename in", unix.Rename(at(placeIn, placeFile), at(placeOut, "put")))
	try("link", unix.Link(at(placeOut, placeFile), at(placeIn, "link")))
	try("truncate", unix.Truncate(at(placeOut, placeFile), 0))
	try("mode", unix.Chmod(at(placeOut, placeFile), 0o644))
	try("attribute", unix.Setxattr(at(placeOut, placeFile), "trusted.canary", []byte("x"), 0))
	try("directory", unix.Mkdir(at(placeOut, "directory"), 0o700))
	try("symlink", unix.Symlink("x", at(placeOut, "symlink")))
	try("remove", unix.Unlink(at(placeOut, placeFile)))
	try("socket of a path", connectUnix(at(placeSecret, placeSocket)))
	try("abstract socket", connectUnix("@"+dir))
	one := make([]byte, 1)
	local := []unix.Iovec{{Base: &one[0], Len: 1}}
	_, err := unix.ProcessVMReadv(1, local, []unix.RemoteIovec{{Len: 1}}, 0)
	try("memory of init", err)
	var next [8]uint32 // attr of BPF_PROG_GET_NEXT_ID
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_GET_NEXT_ID, uintptr(unsafe.Pointer(&next)), unsafe.Sizeof(next))
	try("bpf", errnoOf(errno))
	err = unix.Mount(at(placeIn), at(placeIn), "", unix.MS_BIND, "")
	if err == nil {
		_ = unix.Unmount(at(placeIn), unix.MNT_DETACH)
	}
	try("mount", err)
	return out
}

// trySecrets tries what says nothing about writing.
func trySecrets(dir string) map[string]string {
	return map[string]string{
		"read":        said(open(filepath.Join(dir, placeOut, placeFile), unix.O_RDONLY)),
		"read secret": said(open(filepath.Join(dir, placeSecret, placeFile), unix.O_RDONLY)),
		"list secret": said(open(filepath.Join(dir, placeSecret), unix.O_RDONLY|unix.O_DIRECTORY)),
	}
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func errnoOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func connectUnix(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: name})
}
