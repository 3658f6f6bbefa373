// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// ErrNoReturn is returned where no program can be relied upon to run when a process goes back to its own
// instructions.
var ErrNoReturn = errors.New("the way back to a process cannot be watched")

// wokenPrograms end what must not go on: what is held and was woken by somebody else, and what was born when there
// was no room for another mark.
var wokenPrograms = []string{kernelProgOnWoken, kernelProgOnBorn}

// WatchWoken attaches, for as long as the rest of the kernel side is in force, the programs that
// end a held process which was woken by somebody else, and a new one that could not be marked, before
// its first instruction. It costs nobody anything but who handles a signal, and who is born.
//
// It returns [ErrNoReturn] where that cannot be had: see WatchSyscalls for these kernels.
func (k *Kernel) WatchWoken() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := relied(); err != nil {
		k.unwatchWoken()
		return err
	}
	err := k.load(wokenPrograms)
	if err == nil {
		err = k.attachAll(wokenPrograms)
	}
	if err != nil {
		k.unwatchWoken()
		return fmt.Errorf("%w: %w", ErrNoReturn, err)
	}
	return nil
}

// UnwatchWoken takes it out of force.
func (k *Kernel) UnwatchWoken() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unwatchWoken()
}

func (k *Kernel) unwatchWoken() {
	for _, name := range wokenPrograms {
		k.detach(name)
	}
}

// WatchSyscalls attaches or detaches the program that kills a held process
// which was woken by somebody else, or one that could not be marked, at its first system call. It costs every process of the
// machine about 0.2 us a system call, so it is in force only while it may be needed, and where
// WatchWoken cannot be had.
func (k *Kernel) WatchSyscalls(on bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := kernelProgOnSyscall
	if !on {
		k.detach(name)
		// 5.10 attaches a program only once: the next time takes a new one.
		if p := k.programs[name]; p != nil {
			p.Close()
			delete(k.programs, name)
		}
		return nil
	}
	if k.links[name] != nil {
		return nil
	}
	if err := k.load([]string{name}); err != nil {
		return fmt.Errorf("loading %s: %w", name, err)
	}
	return k.attach(name)
}

// holding is the kernel's count of what it holds, mapped. The page stays mapped: an answer may be under way.
type holding struct{ page []byte }

func (h *holding) open(m *ebpf.Map) error {
	page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping the count of holds: %w", err)
	}
	h.page = page
	return nil
}

func (h *holding) add(n int64) { atomic.AddInt64((*int64)(unsafe.Pointer(&h.page[0])), n) }

// relied says whether programs around a function of the kernel always run, and are safe around one
// in which processes sleep.
func relied() error {
	if why := preempts(); why != "" {
		return fmt.Errorf("%w: %s", ErrNoReturn, why)
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("%w: reading the kernel's types: %w", ErrNoReturn, err)
	}
	// 5.12; before, what is around a function may be replaced under who sleeps in it.
	if _, err := kernel.AnyTypeByName("bpf_tramp_image"); err != nil {
		return fmt.Errorf("%w: the kernel is older than 5.12", ErrNoReturn)
	}
	return nil
}
