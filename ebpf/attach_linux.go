// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

const ringBufferType = ebpf.RingBuf

// corePrograms are needed everywhere; without one of them there is no daemon.
// The order is the order of attachment: who dies is known before who is born,
// and both before anything can be judged.
var corePrograms = []string{
	kernelProgOnExit, kernelProgOnFork, kernelProgOnExec,
	kernelProgOnConnect4, kernelProgOnConnect6,
	kernelProgOnSendmsg4, kernelProgOnSendmsg6, kernelProgOnSockCreate,
}

// Mechanism is how the kernel refuses before the fact.
type Mechanism string

// The mechanisms, best first.
const (
	LSM       Mechanism = "lsm"      // "bpf" is among the kernel's security modules
	ModReturn Mechanism = "fmod_ret" // the security call's return value is overridden
	None      Mechanism = "none"
)

var refusePrograms = map[Mechanism][]string{
	LSM: {
		kernelProgLsmBprm, kernelProgLsmMmap, kernelProgLsmKill, kernelProgLsmSigio, kernelProgLsmPtrace,
		kernelProgLsmSocket, kernelProgLsmOption, kernelProgLsmMessage,
	},
	ModReturn: {
		kernelProgModBprm, kernelProgModMmap, kernelProgModKill, kernelProgModSigio, kernelProgModPtrace,
		kernelProgModSocket, kernelProgModOption, kernelProgModMessage,
	},
}

// Attach puts the core programs into force; those an earlier daemon left are
// kept as they are, so there is no moment without them. A policy generation
// must have been set before.
func (k *Kernel) Attach() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range corePrograms {
		if err := k.attach(name); err != nil {
			return err
		}
	}
	if k.untold { // who died before births were known may have had its number taken
		return k.allMayBeMarked()
	}
	return nil
}

// DropOthers removes what other versions of the kernel side left pinned. Call
// it once everything of this one is in force.
func (k *Kernel) DropOthers() error {
	others := k.otherVersions()
	if len(others) == 0 {
		return nil
	}
	var errs []error
	for _, dir := range others {
		errs = append(errs, Remove(dir))
	}
	// Alone with the marks, this version counts right from here on.
	return errors.Join(append(errs, k.countEntries())...)
}

// AttachRefuse puts the programs of one mechanism into force. An error means
// the kernel refuses them; no error proves nothing (an lsm program attaches
// also where it never runs): that is for a canary to say.
func (k *Kernel) AttachRefuse(m Mechanism) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	names := refusePrograms[m]
	if err := k.load(names); err != nil {
		return fmt.Errorf("loading the %s programs: %w", m, err)
	}
	err := k.attachAll(names)
	if err != nil {
		for _, name := range names {
			k.detach(name)
		}
	}
	return err
}

// DetachRefuse takes the programs of one mechanism out of force.
func (k *Kernel) DetachRefuse(m Mechanism) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range refusePrograms[m] {
		k.detach(name)
		if p := k.programs[name]; p != nil {
			p.Close()
			delete(k.programs, name)
		}
	}
}

// attach attaches and pins one loaded program, or takes the pinned link of an
// earlier daemon.
func (k *Kernel) attach(name string) error {
	if k.links[name] != nil || k.isPinned(name) {
		return nil
	}
	l, err := k.newLink(name)
	if err != nil {
		return fmt.Errorf("attaching %s: %w", name, err)
	}
	return k.keep(name, l)
}

// isPinned takes the link that an earlier daemon pinned, and says whether there is
// one.
func (k *Kernel) isPinned(name string) bool {
	l, err := link.LoadPinnedLink(filepath.Join(k.pinned("links"), name), nil)
	if err == nil {
		k.links[name] = l
	}
	return err == nil
}

// keep pins a new link; nil is none.
func (k *Kernel) keep(name string, l link.Link) error {
	if l == nil {
		return nil
	}
	pin := filepath.Join(k.pinned("links"), name)
	if err := os.MkdirAll(filepath.Dir(pin), 0o700); err != nil {
		l.Close()
		return fmt.Errorf("pinning %s: %w", name, err)
	}
	if err := l.Pin(pin); err != nil {
		l.Close()
		return fmt.Errorf("pinning %s: %w", name, err)
	}
	k.links[name] = l
	return nil
}

func (k *Kernel) newLink(name string) (link.Link, error) {
	p := k.programs[name]
	spec := k.spec.Programs[name]
	switch p.Type() {
	case ebpf.LSM:
		return link.AttachLSM(link.LSMOptions{Program: p})
	case ebpf.Tracing:
		return link.AttachTracing(link.TracingOptions{Program: p})
	default:
		return link.AttachCgroup(link.CgroupOptions{Path: k.options.Cgroup, Attach: spec.AttachType, Program: p})
	}
}

func (k *Kernel) detach(name string) {
	l := k.links[name]
	if l == nil {
		// left by an earlier daemon
		_ = os.Remove(filepath.Join(k.pinned("links"), name))
		return
	}
	_ = l.Unpin()
	_ = l.Close()
	delete(k.links, name)
}
