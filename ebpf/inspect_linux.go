// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Damage is something that somebody has done to the kernel side.
type Damage struct {
	// What was done: "unpin", "detach", "exchange", "map".
	What string
	// Target is the program or map.
	Target string
	// Policy says that another policy is in force, which SetPolicy alone mends.
	Policy bool
	// Mended says that it is as it was; Err, why not.
	Mended bool
	Err    error
}

// Inspect looks whether the kernel side is still attached, pinned and set as this daemon
// left it, and mends what it can: root outside of any session can take it apart piece by
// piece, and it shall not go unnoticed. generation is that of the policy in force.
func (k *Kernel) Inspect(generation uint32) []Damage {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Damage
	for _, name := range sorted(k.links) {
		if d := k.inspectLink(name); d != nil {
			out = append(out, *d)
		}
	}
	for _, name := range sorted(k.maps) {
		m := k.maps[name]
		pin := filepath.Join(k.pinned("maps"), name)
		id, _ := idOfMap(m)
		other, err := ebpf.LoadPinnedMap(pin, nil)
		if err == nil {
			is, _ := idOfMap(other)
			other.Close()
			if is == id {
				continue
			}
		}
		out = append(out, k.pinAgain(name, pin, err == nil, func() error { _ = m.Unpin(); return m.Pin(pin) }))
	}
	k.claimAgain()
	if is, err := k.Generation(); err != nil || is != generation {
		d := Damage{What: "map", Target: kernelMapActive, Policy: true, Err: err}
		if err == nil {
			d.Err = fmt.Errorf("generation %d of the policy is in force, and %d should be", is, generation)
		}
		out = append(out, d)
	}
	if s, err := k.state(); err == nil && (s.Daemon != uint32(os.Getpid()) || s.Alive == 0) {
		d := Damage{What: "map", Target: kernelMapStates}
		s.Daemon, s.Alive = uint32(os.Getpid()), 1
		d.Err = k.maps[kernelMapStates].Put(uint32(0), s)
		d.Mended = d.Err == nil
		out = append(out, d)
	}
	return out
}

// inspectLink looks at what one program is attached by.
func (k *Kernel) inspectLink(name string) *Damage {
	l := k.links[name]
	info, err := l.Info()
	if err != nil {
		return &Damage{What: "detach", Target: name, Err: err}
	}
	if cg := info.Cgroup(); cg != nil && cg.CgroupId == 0 {
		// The one kind of link that can be detached by force.
		d := &Damage{What: "detach", Target: name}
		_ = os.Remove(filepath.Join(k.pinned("links"), name))
		_ = l.Close()
		delete(k.links, name)
		if d.Err = k.load([]string{name}); d.Err == nil {
			d.Err = k.attach(name)
		}
		d.Mended = d.Err == nil
		return d
	}
	pin := filepath.Join(k.pinned("links"), name)
	other, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		is, err := other.Info()
		other.Close()
		if err == nil && is.ID == info.ID {
			return nil
		}
	}
	// A link that thinks it is pinned is not pinned again.
	d := k.pinAgain(name, pin, err == nil, func() error { _ = l.Unpin(); return l.Pin(pin) })
	return &d
}

// pinAgain pins anew what is not pinned any more, or of which another one is pinned.
func (k *Kernel) pinAgain(name, pin string, exchanged bool, again func() error) Damage {
	d := Damage{What: "unpin", Target: name}
	if exchanged {
		d.What = "exchange"
		_ = os.Remove(pin)
	}
	if d.Err = os.MkdirAll(filepath.Dir(pin), 0o700); d.Err == nil {
		d.Err = again()
	}
	d.Mended = d.Err == nil
	return d
}

// PinDirs are the directories whose files keep the kernel side.
func (k *Kernel) PinDirs() []string {
	return []string{k.options.PinDir, k.pinned(""), k.pinned("maps"), k.pinned("links")}
}

func idOfMap(m *ebpf.Map) (ebpf.MapID, bool) {
	info, err := m.Info()
	if err != nil {
		return 0, false
	}
	return info.ID()
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
