// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrNotHeld is returned for a hold that is over: answered, or its process died.
var ErrNotHeld = errors.New("not held any more")

// Held is a process stopped at exec, by a handle that no reuse of its pid can
// redirect. Close it when answered.
type Held struct {
	kernel *Kernel
	pid    int
	token  uint64
	fd     int
}

// Hold takes a handle on the hold an exec record told of.
func (k *Kernel) Hold(e *Exec) (*Held, error) {
	fd, err := unix.PidfdOpen(e.PID, 0)
	if err != nil {
		return nil, fmt.Errorf("opening held process %d: %w", e.PID, errors.Join(ErrNotHeld, err))
	}
	h := &Held{k, e.PID, e.Token, fd}
	// Looked up after the handle was opened: the hold ends with its process, so
	// as long as it is there, the handle is to that process.
	if err := h.check(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// FD is the process's pidfd.
func (h *Held) FD() int { return h.fd }

func (h *Held) check() error {
	var v kernelHold
	err := h.kernel.maps[kernelMapHeld].Lookup(uint32(h.pid), &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && v.Token != h.token {
		return ErrNotHeld
	}
	if err != nil {
		return fmt.Errorf("looking up the hold of process %d: %w", h.pid, err)
	}
	return nil
}

// Release lets the process run.
func (h *Held) Release() error {
	if err := h.check(); err != nil {
		return err
	}
	// First the entry, then the signal: the other way round the watch on
	// system calls would kill what was just allowed.
	if err := h.kernel.maps[kernelMapHeld].Delete(uint32(h.pid)); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return ErrNotHeld
		}
		return fmt.Errorf("releasing process %d: %w", h.pid, err)
	}
	h.kernel.holding.add(-1)
	if err := unix.PidfdSendSignal(h.fd, unix.SIGCONT, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("continuing process %d: %w", h.pid, err)
	}
	return nil
}

// Kill ends the process before its first instruction.
func (h *Held) Kill() error {
	if err := unix.PidfdSendSignal(h.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing held process %d: %w", h.pid, err)
	}
	return nil
}

// Wake wakes the process as somebody would who may not: it stays held, and dies of it.
func (h *Held) Wake() error {
	if err := unix.PidfdSendSignal(h.fd, unix.SIGCONT, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("waking held process %d: %w", h.pid, err)
	}
	return nil
}

// Close gives up the handle.
func (h *Held) Close() error { return unix.Close(h.fd) }

// HoldSet names holds by what tells them apart: the process, and the token of its
// record.
type HoldSet map[uint32]uint64

// Add notes the hold an exec record told of.
func (h HoldSet) Add(e *Exec) { h[uint32(e.PID)] = e.Token }

// KillHeld kills every process held, but for those that are spared, and returns how
// many it found. Nobody will answer for them any more.
func (k *Kernel) KillHeld(spare HoldSet) (int, error) {
	return killHeld(k.maps[kernelMapHeld], spare)
}

// KillHeldByOthers kills what other versions of the kernel side hold: their holds
// cannot be answered here.
func (k *Kernel) KillHeldByOthers() (int, error) {
	total := 0
	for _, dir := range k.otherVersions() {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, "maps", kernelMapHeld), nil)
		if err != nil {
			continue // that version died before pinning it
		}
		n, err := killHeld(m, nil)
		m.Close()
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// IsHeld reports whether the hold an exec record told of is not answered yet.
func (k *Kernel) IsHeld(e *Exec) bool {
	var v kernelHold
	return k.maps[kernelMapHeld].Lookup(uint32(e.PID), &v) == nil && v.Token == e.Token
}

// OldestHold says how long the oldest hold has waited of those that are not among
// the others; 0 when there is none.
func (k *Kernel) OldestHold(others HoldSet) (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	var oldest time.Duration
	var pid uint32
	var v kernelHold
	it := k.maps[kernelMapHeld].Iterate()
	for it.Next(&pid, &v) {
		if token, ok := others[pid]; ok && token == v.Token {
			continue
		}
		oldest = max(oldest, time.Duration(uint64(now.Nano())-v.Since))
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return 0, fmt.Errorf("walking the holds: %w", err)
	}
	return oldest, nil
}

func killHeld(held *ebpf.Map, spare HoldSet) (int, error) {
	killed := 0
	var errs []error
	var pid uint32
	var v kernelHold
	it := held.Iterate()
	for it.Next(&pid, &v) {
		if token, ok := spare[pid]; ok && token == v.Token {
			continue
		}
		fd, err := unix.PidfdOpen(int(pid), 0)
		if err != nil {
			continue // gone already
		}
		var again kernelHold
		if held.Lookup(pid, &again) == nil && again.Token == v.Token {
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, err)
			}
			killed++
		}
		unix.Close(fd)
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		errs = append(errs, err)
	}
	return killed, errors.Join(errs...)
}

// Guard is all the process needs that outlives the daemon for a moment, to kill
// what the daemon left held.
type Guard struct{ held, states []*ebpf.Map }

// OpenGuard opens the pinned holds of every version below pinDir.
func OpenGuard(pinDir string) (*Guard, error) {
	g := &Guard{}
	for _, version := range versions(pinDir) {
		p := filepath.Join(version, "maps", kernelMapHeld)
		if _, err := os.Lstat(p); err != nil {
			continue // that version died before pinning it
		}
		m, err := ebpf.LoadPinnedMap(p, nil)
		if err != nil {
			return nil, fmt.Errorf("opening pinned holds %s: %w", p, err)
		}
		g.held = append(g.held, m)
		states, err := ebpf.LoadPinnedMap(filepath.Join(filepath.Dir(p), kernelMapStates), nil)
		if err != nil {
			return nil, fmt.Errorf("opening the pinned state beside %s: %w", p, err)
		}
		g.states = append(g.states, states)
	}
	if len(g.held) == 0 {
		return nil, fmt.Errorf("no pinned holds below %s", pinDir)
	}
	return g, nil
}

// DaemonAlive says whether a daemon answers holds: another one may have come.
func (g *Guard) DaemonAlive() bool {
	for _, m := range g.states {
		var s kernelState
		if m.Lookup(uint32(0), &s) == nil && s.Alive != 0 {
			return true
		}
	}
	return false
}

// KillHeld kills everything held but what is spared. The kernel holds nothing new
// once the daemon is dead, so when a pass finds nothing, nothing is left.
func (g *Guard) KillHeld(spare HoldSet) (int, error) {
	total := 0
	for _, m := range g.held {
		n, err := killHeld(m, spare)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
