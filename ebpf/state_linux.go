// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
)

// SetDaemon tells the kernel who answers questions. Alive ends by itself, in
// the kernel, when that process does.
func (k *Kernel) SetDaemon(pid int, alive bool) error {
	return k.changeState(func(s *kernelState) {
		s.Daemon = uint32(pid)
		s.Alive = 0
		if alive {
			s.Alive = 1
		}
		if s.Seed == [2]uint64{} {
			var b [16]byte
			_, _ = rand.Read(b[:]) // never fails
			s.Seed = [2]uint64{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
		}
	})
}

// SetGuard names the process that kills what is held if the daemon dies; it is
// protected like the daemon.
func (k *Kernel) SetGuard(pid int) error {
	return k.changeState(func(s *kernelState) { s.Guard = uint32(pid) })
}

// DaemonAlive says whether questions are being answered now.
func (k *Kernel) DaemonAlive() (bool, error) {
	s, err := k.state()
	return s.Alive != 0, err
}

func (k *Kernel) state() (kernelState, error) {
	var s kernelState
	if err := k.maps[kernelMapStates].Lookup(uint32(0), &s); err != nil {
		return s, fmt.Errorf("reading the kernel side's state: %w", err)
	}
	return s, nil
}

// changeState writes the whole state back: the kernel writes alive alone, and
// only when this process has ended.
func (k *Kernel) changeState(change func(*kernelState)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := k.state()
	if err != nil {
		return err
	}
	change(&s)
	if err := k.maps[kernelMapStates].Put(uint32(0), s); err != nil {
		return fmt.Errorf("writing the kernel side's state: %w", err)
	}
	return nil
}

// Losses returns, of each ring, how many records it could not take in all, and
// how many of those were reported (see ReportLoss), by this daemon or another.
func (k *Kernel) Losses() (lost, reported [3]uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := k.state()
	if err != nil {
		return lost, reported, err
	}
	for r := range rings {
		c, err := k.Counters(r)
		if err != nil {
			return lost, reported, err
		}
		lost[r] = c.Full
	}
	return lost, s.Lost, nil
}

// ReportLoss notes that the loss of a ring's first n records is known.
func (k *Kernel) ReportLoss(r Ring, n uint64) error {
	return k.changeState(func(s *kernelState) { s.Lost[r] = n })
}
