// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Proc is the mark of a governed process.
type Proc struct {
	Session uint64
	Cause   uint64
	Start   uint64 // ns since boot
	Flags   ProcFlags
}

// ProcFlags qualify a mark.
type ProcFlags uint32

// What a mark may say.
const (
	Agent       = ProcFlags(kernelProcFlagPROC_AGENT)      // runs the agent's own program
	ByAgent     = ProcFlags(kernelProcFlagPROC_FROM_AGENT) // forked by it, has not called exec yet
	CanaryChild = ProcFlags(kernelProcFlagPROC_CANARY)     // under enforcement whatever the mode
	counted     = ProcFlags(kernelProcFlagPROC_COUNTED)
)

// ErrNoProcess is returned for a process that is not governed (any more).
var ErrNoProcess = errors.New("not a governed process")

// Began returns when each process of the machine began, in nanoseconds since boot: as in every record, where /proc rounds it to 10 ms.
func (k *Kernel) Began() (map[int]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := iterate[kernelBegan](k, kernelProgProbeBegan)
	if err != nil {
		return nil, err
	}
	began := make(map[int]uint64, len(all))
	for _, p := range all {
		began[int(p.Tgid)] = p.Start
	}
	return began, nil
}

// Mark puts a process into a session. Its children inherit the mark.
func (k *Kernel) Mark(pid int, p Proc) error {
	old, err := k.Lookup(pid)
	known := err == nil
	p.Flags |= old.Flags & counted
	v := kernelProc{Session: p.Session, Cause: p.Cause, Start: p.Start, Flags: uint32(p.Flags)}
	if err := k.mayBeMarked(pid); err != nil {
		return err
	}
	if err := k.maps[kernelMapProcs].Put(uint32(pid), v); err != nil {
		return fmt.Errorf("marking process %d: %w", pid, err)
	}
	if !known {
		k.addProcs(p.Session, 1)
	}
	return nil
}

// Remark changes the mark of a process that has one, and returns ErrNoProcess
// when it has ended: a mark without a process would be the next one's with its
// number.
func (k *Kernel) Remark(pid int, p Proc) error {
	old, err := k.Lookup(pid)
	if err != nil {
		return err
	}
	p.Flags |= old.Flags & counted
	v := kernelProc{Session: p.Session, Cause: p.Cause, Start: p.Start, Flags: uint32(p.Flags)}
	if err := k.maps[kernelMapProcs].Update(uint32(pid), v, ebpf.UpdateExist); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return ErrNoProcess
		}
		return fmt.Errorf("marking process %d: %w", pid, err)
	}
	return nil
}

// Unmark takes a process out of its session: it is let go, and so is what it
// starts from now on. The entry stays until the process ends: who counts the
// entries, the kernel alone, counts right.
func (k *Kernel) Unmark(pid int) error {
	p, err := k.Lookup(pid)
	if err != nil {
		return err
	}
	// Its end takes the entry away only if that is looked for.
	if err := k.mayBeMarked(pid); err != nil {
		return err
	}
	v := kernelProc{Start: p.Start, Flags: uint32(p.Flags & counted)}
	if err := k.maps[kernelMapProcs].Update(uint32(pid), v, ebpf.UpdateExist); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		return fmt.Errorf("unmarking process %d: %w", pid, err)
	}
	k.addProcs(p.Session, -1)
	return nil
}

// addProcs corrects the count the kernel keeps of a session. It is a hint of
// when to look whether a session is over, so a lost race is harmless.
func (k *Kernel) addProcs(session uint64, n int) {
	var s kernelSession
	if err := k.maps[kernelMapSessions].Lookup(session, &s); err == nil {
		s.Procs = uint32(int(s.Procs) + n)
		_ = k.maps[kernelMapSessions].Update(session, s, ebpf.UpdateExist)
	}
}

// Lookup returns a process's mark, or ErrNoProcess.
func (k *Kernel) Lookup(pid int) (Proc, error) {
	var v kernelProc
	if err := k.maps[kernelMapProcs].Lookup(uint32(pid), &v); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return Proc{}, ErrNoProcess
		}
		return Proc{}, fmt.Errorf("looking up process %d: %w", pid, err)
	}
	if v.Session == 0 {
		return Proc{Flags: ProcFlags(v.Flags) & counted}, ErrNoProcess
	}
	return Proc{v.Session, v.Cause, v.Start, ProcFlags(v.Flags)}, nil
}

// Procs returns the marks of all governed processes by pid. Processes come and
// go meanwhile: one that lived through the whole call is in it.
func (k *Kernel) Procs() (map[int]Proc, error) {
	// An iteration over a hash whose current key is deleted starts over, so it
	// may end in ErrIterationAborted under churn: try again, bounded.
	for try := 0; ; try++ {
		all := map[int]Proc{}
		var pid uint32
		var v kernelProc
		it := k.maps[kernelMapProcs].Iterate()
		for it.Next(&pid, &v) {
			if v.Session == 0 {
				continue
			}
			all[int(pid)] = Proc{v.Session, v.Cause, v.Start, ProcFlags(v.Flags)}
		}
		err := it.Err()
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, ebpf.ErrIterationAborted) || try == 10 {
			return nil, fmt.Errorf("walking the governed processes: %w", err)
		}
	}
}

// NewSession makes room for a session's count. It is not an error if it exists.
func (k *Kernel) NewSession(key uint64) error {
	err := k.maps[kernelMapSessions].Update(key, kernelSession{}, ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("making session %d: %w", key, err)
	}
	return nil
}

// EndSession forgets a session's count.
func (k *Kernel) EndSession(key uint64) error {
	err := k.maps[kernelMapSessions].Delete(key)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("ending session %d: %w", key, err)
	}
	return nil
}

// CountProcs sets the count of each session to what is marked now and returns
// them.
func (k *Kernel) CountProcs() (map[uint64]int, error) {
	all, err := k.Procs()
	if err != nil {
		return nil, err
	}
	counts := map[uint64]int{}
	for _, p := range all {
		counts[p.Session]++
	}
	for key, n := range counts {
		if err := k.maps[kernelMapSessions].Put(key, kernelSession{Procs: uint32(n)}); err != nil {
			return nil, fmt.Errorf("counting session %d: %w", key, err)
		}
	}
	return counts, nil
}

// SetNames replaces the names whose exec is shown as a candidate. Names of more
// than 63 bytes cannot be told apart and are refused.
func (k *Kernel) SetNames(names map[string]NameFlags) error {
	m := k.maps[kernelMapNames]
	want := map[kernelNameKey]uint32{}
	for name, flags := range names {
		var key kernelNameKey
		if len(name) == 0 || len(name) >= len(key.Name) {
			return fmt.Errorf("agent name %q: must have 1 to %d bytes", name, len(key.Name)-1)
		}
		copy(key.Name[:], name)
		want[key] = uint32(flags)
	}
	var stale []kernelNameKey
	var key kernelNameKey
	var v uint32
	it := m.Iterate()
	for it.Next(&key, &v) {
		if _, ok := want[key]; !ok {
			stale = append(stale, key)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading the agent names: %w", err)
	}
	for key, flags := range want {
		if err := m.Put(key, flags); err != nil {
			return fmt.Errorf("setting agent name %s: %w", text(key.Name[:]), err)
		}
	}
	for _, key := range stale {
		if err := m.Delete(key); err != nil {
			return fmt.Errorf("removing agent name %s: %w", text(key.Name[:]), err)
		}
	}
	return nil
}

// NameFlags qualify a name.
type NameFlags uint32

// What a name may be.
const (
	Candidate   = NameFlags(kernelNameFlagNAME_CANDIDATE)
	SureName    = NameFlags(kernelNameFlagNAME_SURE)
	Interpreter = NameFlags(kernelNameFlagNAME_INTERPRETER)
)
