// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// BoundaryMode says how much of the file system a session may write.
type BoundaryMode uint32

// The modes. A greater one allows more, except that BoundaryNone is no boundary.
const (
	BoundaryNone      = BoundaryMode(kernelBoundaryModeBOUNDARY_NONE)
	BoundaryReadOnly  = BoundaryMode(kernelBoundaryModeBOUNDARY_READ_ONLY)
	BoundaryWorkspace = BoundaryMode(kernelBoundaryModeBOUNDARY_WORKSPACE)
	BoundaryFull      = BoundaryMode(kernelBoundaryModeBOUNDARY_FULL) // what is unreadable or ours is kept
)

// BoundFlags say what holds for a file and all below it.
type BoundFlags uint32

// What may hold for a file or a name.
const (
	BoundWrite      = BoundFlags(kernelBoundFlagBOUND_WRITE)
	BoundProtected  = BoundFlags(kernelBoundFlagBOUND_PROTECTED)
	BoundUnreadable = BoundFlags(kernelBoundFlagBOUND_UNREADABLE)
	BoundBroker     = BoundFlags(kernelBoundFlagBOUND_BROKER) // a socket of somebody who acts for others
	BoundAgent      = BoundFlags(kernelBoundFlagBOUND_AGENT)  // the agent's own program may nevertheless
	BoundPinned     = BoundFlags(kernelBoundFlagBOUND_PINNED) // may be neither renamed nor removed
	BoundNames      = BoundFlags(kernelBoundFlagBOUND_NAMES)  // a directory with names in Bounds.Names
	BoundOurs       = BoundFlags(kernelBoundFlagBOUND_OURS)   // protected in every mode
	BoundFixed      = BoundFlags(kernelBoundFlagBOUND_FIXED)  // pinned in every mode
)

// Bound is what holds for a file, or for a name in a directory. Agent is a number
// for one agent, of which BoundAgent speaks; 0: any.
type Bound struct {
	Flags BoundFlags
	Agent uint32
}

// BoundName is a name in a directory, whether there is such a file or not.
type BoundName struct {
	Dir  InodeID
	Name string // at most MaxBoundName bytes
}

// MaxBoundName is how long a name may be, in bytes: longer ones are not told apart.
const MaxBoundName = int(kernelLimitNAME_LEN) - 1

// Bounds is a boundary as the kernel asks it.
type Bounds struct {
	Files map[InodeID]Bound
	Names map[BoundName]Bound
}

// Add joins what holds for a file with what is known of it.
func (b *Bounds) Add(id InodeID, bound Bound) {
	if b.Files == nil {
		b.Files = map[InodeID]Bound{}
	}
	b.Files[id] = joined(b.Files[id], bound)
}

// AddName does the same for a name, and marks its directory.
func (b *Bounds) AddName(n BoundName, bound Bound) {
	if b.Names == nil {
		b.Names = map[BoundName]Bound{}
	}
	b.Names[n] = joined(b.Names[n], bound)
	b.Add(n.Dir, Bound{Flags: BoundNames | pins(bound)})
}

// pins is what holds for a directory in which something is bound.
func pins(bound Bound) BoundFlags {
	if bound.Flags&BoundOurs != 0 {
		return BoundPinned | BoundFixed
	}
	return BoundPinned
}

// Above is what holds for every directory on the way to something bound: whoever
// could put another one into its place would have another file there.
func Above(bound Bound) Bound { return Bound{Flags: pins(bound)} }

// joined fails closed: what one of two forbids to everybody, the other does not
// give back to an agent.
func joined(a, b Bound) Bound {
	const forbids = BoundProtected | BoundUnreadable | BoundBroker
	out := Bound{Flags: a.Flags | b.Flags, Agent: max(a.Agent, b.Agent)}
	for _, x := range []Bound{a, b} {
		if x.Flags&forbids != 0 && (x.Flags&BoundAgent == 0 || x.Agent != out.Agent) {
			out.Flags &^= BoundAgent
		}
	}
	return out
}

func boundKey(session uint64, id InodeID) kernelBoundKey {
	return kernelBoundKey{Session: session, Ino: id.Ino, Dev: id.Dev}
}

func boundNameKey(session uint64, n BoundName) (kernelBoundNameKey, error) {
	key := kernelBoundNameKey{Session: session, Ino: n.Dir.Ino, Dev: n.Dir.Dev}
	if n.Name == "" || len(n.Name) > MaxBoundName {
		return key, fmt.Errorf("the name %q has %d bytes, 1 to %d are possible", n.Name, len(n.Name), MaxBoundName)
	}
	copy(key.Name[:], n.Name)
	return key, nil
}

func (b *Bounds) entries(session uint64) (map[kernelBoundKey]kernelBound, map[kernelBoundNameKey]kernelBound, error) {
	files, names := map[kernelBoundKey]kernelBound{}, map[kernelBoundNameKey]kernelBound{}
	for id, bound := range b.Files {
		files[boundKey(session, id)] = kernelBound{Flags: uint32(bound.Flags), Agent: bound.Agent}
	}
	for n, bound := range b.Names {
		key, err := boundNameKey(session, n)
		if err != nil {
			return nil, nil, err
		}
		names[key] = kernelBound{Flags: uint32(bound.Flags), Agent: bound.Agent}
	}
	return files, names, nil
}

// SetBoundary begins to hold a session to the boundary, or changes what is its own
// in it. A session's mode is never wider than the policy's.
func (k *Kernel) SetBoundary(session uint64, mode BoundaryMode, agent uint32, own *Bounds) error {
	files, names, err := own.entries(session)
	if err != nil {
		return fmt.Errorf("the boundary of session %d: %w", session, err)
	}
	k.filter.Lock()
	defer k.filter.Unlock()
	err = k.changeBounds(func() error {
		if err := k.setFilter(filterOf(files, names)); err != nil {
			return err
		}
		// First what it may not, then the places where it may write, then itself: at no
		// moment may it do more than it will.
		if err := putAll(k.maps[kernelMapSessionBoundNames], names); err != nil {
			return err
		}
		if err := putAll(k.maps[kernelMapSessionBounds], files); err != nil {
			return err
		}
		v := kernelBoundSession{Mode: uint32(mode), Agent: agent}
		if err := k.maps[kernelMapBoundSessions].Put(session, v); err != nil {
			return err
		}
		return k.removeOthers(session, files, names)
	})
	if err != nil {
		return fmt.Errorf("the boundary of session %d: %w", session, err)
	}
	return nil
}

// EndBoundary forgets what was a session's own.
func (k *Kernel) EndBoundary(session uint64) error {
	k.filter.Lock()
	defer k.filter.Unlock()
	return k.changeBounds(func() error {
		err := k.maps[kernelMapBoundSessions].Delete(session)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
		return errors.Join(err, k.removeOthers(session, nil, nil))
	})
}

// removeOthers removes what is a session's own but for some of it.
func (k *Kernel) removeOthers(session uint64, files map[kernelBoundKey]kernelBound, names map[kernelBoundNameKey]kernelBound) error {
	return errors.Join(
		removeOthers(k.maps[kernelMapSessionBounds], session, files, func(key kernelBoundKey) uint64 { return key.Session }),
		removeOthers(k.maps[kernelMapSessionBoundNames], session, names, func(key kernelBoundNameKey) uint64 { return key.Session }))
}

// removeOthers removes the entries of one session that are not in keep.
func removeOthers[K comparable](m *ebpf.Map, session uint64, keep map[K]kernelBound, of func(K) uint64) error {
	var gone []K
	var key K
	var v kernelBound
	it := m.Iterate()
	for it.Next(&key, &v) {
		if _, stays := keep[key]; !stays && of(key) == session {
			gone = append(gone, key)
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("walking the boundaries of sessions: %w", err)
	}
	for _, key := range gone {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forgetting a boundary of session %d: %w", session, err)
		}
	}
	return nil
}

// boundHook is a security hook the boundary needs. Second says that its function
// may have the file as its second argument, after the mapping of user ids; then
// there is a program of its own for that.
type boundHook struct {
	hook, first, second string // names of the hook, and of the programs without their mechanism
	function            string // that calls the hook, if it is not called like it: without "security_"
	newer               bool   // not on every kernel
	guard               bool   // of GuardOnly too
}

// Part is how much of the boundary is put into force.
type Part int

// The parts.
const (
	Whole     Part = iota
	GuardOnly      // sockets, other processes and terminals; no files
)

var boundHooks = []boundHook{
	{hook: "file_open", first: "open"},
	{hook: "file_receive", first: "receive"},
	{hook: "inode_create", first: "create"},
	{hook: "inode_mkdir", first: "mkdir"},
	{hook: "inode_mknod", first: "mknod"},
	{hook: "inode_symlink", first: "symlink"},
	{hook: "inode_unlink", first: "unlink"},
	{hook: "inode_rmdir", first: "rmdir"},
	{hook: "inode_link", first: "link"},
	{hook: "inode_rename", first: "rename"},
	{hook: "inode_setattr", first: "setattr", second: "setattr2"},
	{hook: "inode_setxattr", first: "setxattr", second: "setxattr2"},
	{hook: "inode_removexattr", first: "rmxattr", second: "rmxattr2"},
	{hook: "inode_set_acl", second: "setacl2", newer: true},
	{hook: "inode_remove_acl", second: "rmacl2", newer: true},
	{hook: "file_ioctl", first: "ioctl", guard: true},
	{hook: "file_ioctl_compat", first: "ioctl32", newer: true, guard: true},
	{hook: "sb_mount", first: "mount"},
	{hook: "sb_remount", first: "remount"},
	{hook: "move_mount", first: "move"},
	{hook: "fs_context_parse_param", first: "context"},
	{hook: "sb_set_mnt_opts", first: "super"},
	{hook: "sb_umount", first: "umount"},
	{hook: "sb_pivotroot", first: "pivot"},
	{hook: "bpf", first: "bpf"},
	{hook: "kernel_read_file", first: "readfile"},
	{hook: "kernel_load_data", first: "loaddata"},
	{hook: "ptrace_access_check", first: "attach", guard: true},
	{hook: "unix_stream_connect", first: "peer", guard: true},
	{hook: "unix_may_send", first: "send", guard: true},
	{hook: "task_setnice", first: "nice", guard: true},
	{hook: "task_setioprio", first: "ioprio", guard: true},
	{hook: "task_setscheduler", first: "schedule", guard: true},
	{hook: "task_setrlimit", first: "limit", guard: true},
	{hook: "task_movememory", first: "pages", guard: true},
	{hook: "key_permission", first: "key", newer: true}, // a kernel may be built without keys
	{hook: "ipc_permission", first: "ipc"},
	{hook: "shm_shmctl", first: "shmctl"},
	{hook: "sem_semctl", first: "semctl"},
	{hook: "msg_queue_msgctl", first: "msgctl"},
	{hook: "shm_alloc_security", function: "shm_alloc", first: "shm"},
	{hook: "sem_alloc_security", function: "sem_alloc", first: "sem"},
	{hook: "msg_queue_alloc_security", function: "msg_queue_alloc", first: "msg"},
}

// boundPrograms picks the programs that fit the running kernel.
func (k *Kernel) boundPrograms(m Mechanism, part Part) ([]string, error) {
	types, err := k.types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's types: %w", err)
	}
	place, prefix := "bpf_lsm_", "lsm_bound_"
	if m == ModReturn {
		place, prefix = "security_", "mod_bound_"
	}
	var names []string
	for _, h := range boundHooks {
		if part == GuardOnly && !h.guard {
			continue
		}
		var f *btf.Func
		called := h.hook
		if m == ModReturn && h.function != "" {
			called = h.function
		}
		err := types.TypeByName(place+called, &f)
		if errors.Is(err, btf.ErrNotFound) && h.newer {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for the hook %s: %w", h.hook, err)
		}
		name := h.first
		if h.second != "" && !takesDentry(f) {
			name = h.second
		}
		names = append(names, prefix+name)
	}
	return names, nil
}

// takesDentry says whether the first argument of a function is a file's entry in
// its directory.
func takesDentry(f *btf.Func) bool {
	proto, ok := f.Type.(*btf.FuncProto)
	if !ok || len(proto.Params) == 0 {
		return false
	}
	p, ok := btf.UnderlyingType(proto.Params[0].Type).(*btf.Pointer)
	if !ok {
		return false
	}
	s, ok := btf.UnderlyingType(p.Target).(*btf.Struct)
	return ok && s.Name == "dentry"
}

// AttachBoundary puts the programs of the boundary, or only a part of them, into
// force, under one mechanism. As with AttachRefuse, no error proves nothing.
func (k *Kernel) AttachBoundary(m Mechanism, part Part) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	names, err := k.boundPrograms(m, part)
	if err != nil {
		return err
	}
	if part == GuardOnly {
		k.drop(boundNames(func(h boundHook) bool { return !h.guard }))
	}
	if err := k.loadAll(names); err != nil {
		return fmt.Errorf("loading the %s programs of the boundary: %w", m, err)
	}
	if err := k.attachAll(names); err != nil {
		k.drop(names)
		return err
	}
	return nil
}

// loadAll loads programs on several processors: what the verifier does for one of
// them takes long.
func (k *Kernel) loadAll(names []string) error {
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return k.programs[name] != nil })
	workers := min(runtime.NumCPU(), 4, len(missing))
	loaded := make([]*ebpf.Collection, workers)
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		var mine []string // every so many: neighbours take alike long
		for i := w; i < len(missing); i += workers {
			mine = append(mine, missing[i])
		}
		wait.Go(func() { loaded[w], errs[w] = k.collection(mine) })
	}
	wait.Wait()
	for _, coll := range loaded {
		if coll == nil {
			continue
		}
		for name := range coll.Programs {
			k.programs[name] = coll.DetachProgram(name)
		}
		coll.Close()
	}
	return errors.Join(errs...)
}

// attachAll attaches programs all at once: each waits for the kernel, for a time in
// which others can as well.
func (k *Kernel) attachAll(names []string) error {
	links := make([]link.Link, len(names))
	errs := make([]error, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		if k.links[name] != nil || k.isPinned(name) {
			continue
		}
		wait.Go(func() { links[i], errs[i] = k.newLink(name) })
	}
	wait.Wait()
	for i, name := range names {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("attaching %s: %w", name, errs[i])
			continue
		}
		errs[i] = k.keep(name, links[i])
	}
	return errors.Join(errs...)
}

// DetachBoundary takes the boundary out of force, whatever its mechanism.
func (k *Kernel) DetachBoundary() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(boundNames(func(boundHook) bool { return true }))
}

// boundNames are the programs of some hooks, for every kernel and mechanism.
func boundNames(of func(boundHook) bool) []string {
	var names []string
	for _, h := range boundHooks {
		if !of(h) {
			continue
		}
		for _, name := range slices.DeleteFunc([]string{h.first, h.second}, func(s string) bool { return s == "" }) {
			names = append(names, "lsm_bound_"+name, "mod_bound_"+name)
		}
	}
	return names
}

// drop detaches programs and forgets them: 5.10 attaches a program only once.
func (k *Kernel) drop(names []string) {
	var wait sync.WaitGroup
	for _, name := range names {
		l := k.links[name]
		delete(k.links, name)
		if l == nil {
			k.detach(name) // left by an earlier daemon
		} else {
			_ = l.Unpin()
			wait.Go(func() { _ = l.Close() }) // waits for the kernel
		}
		if p := k.programs[name]; p != nil {
			delete(k.programs, name)
			wait.Go(func() { p.Close() })
		}
	}
	wait.Wait()
}
