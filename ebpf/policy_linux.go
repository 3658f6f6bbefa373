// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// NetSpan is a range of ports, both ends included, under one decision.
type NetSpan struct {
	First, Last uint16
	Protocols   uint8 // TCP | UDP
	Allow       bool
	Rule        int
}

// NetEntry says what may be reached under a prefix. The longest matching entry
// alone decides; a port or protocol without a span is denied.
type NetEntry struct {
	Prefix netip.Prefix
	Spans  []NetSpan
}

// MaxNetSpans is the most spans an entry may have.
const MaxNetSpans = int(kernelLimitNET_SPANS)

// Generation is one policy as the kernel sees it.
type Generation struct {
	Number  uint32
	Enforce bool // false: observe
	Managed bool // governed connections go through the daemon: see SetListeners
	// OwnListeners says that under a managed network a session may connect, and send, to what it
	// listens on itself, on loopback, unless an entry of Net denies it.
	OwnListeners bool
	// NearDenied says that the daemon lets no session connect to loopback, so that nothing is lost
	// if the kernel itself answers for a port where nobody listens.
	NearDenied bool
	Net        []NetEntry
	Deny       map[InodeID]uint32 // programs forbidden whatever their arguments; the value names the rule
	// Boundary is the most any session may write, and Bounds are the places it
	// speaks of.
	Boundary BoundaryMode
	Bounds   Bounds
}

// SetPolicy puts a generation into force. It is built aside, frozen, and swapped
// in by one write: every decision is taken under the old or the new one, whole.
func (k *Kernel) SetPolicy(g Generation) error {
	k.mu.Lock()
	defer k.mu.Unlock()

	var slot uint32
	if err := k.maps[kernelMapActive].Lookup(uint32(0), &slot); err != nil {
		return fmt.Errorf("reading the active policy slot: %w", err)
	}
	slot = (slot + 1) % uint32(kernelLimitSLOTS)

	enforce := uint32(0)
	if g.Enforce {
		enforce = 1
	}
	var network kernelNetworkFlag
	for flag, set := range map[kernelNetworkFlag]bool{
		kernelNetworkFlagNETWORK_MANAGED: g.Managed, kernelNetworkFlagNETWORK_OWN: g.OwnListeners, kernelNetworkFlagNETWORK_NEAR_DENIED: g.NearDenied,
	} {
		if set {
			network |= flag
		}
	}
	net4, net6, err := netEntries(g.Net)
	if err != nil {
		return err
	}
	files, names, err := g.Bounds.entries(0)
	if err != nil {
		return fmt.Errorf("building policy generation %d: %w", g.Number, err)
	}
	deny := map[kernelInodeId]kernelDenyValue{}
	for id, rule := range g.Deny {
		deny[kernelInodeId{Ino: id.Ino, Dev: id.Dev}] = kernelDenyValue{Rule: rule}
	}
	steps := []policyMap{
		{kernelMapPolicySettings, func(m *ebpf.Map) error {
			return m.Put(uint32(0), kernelSettings{Generation: g.Number, Enforce: enforce, Network: uint32(network), Boundary: uint32(g.Boundary)})
		}},
		{kernelMapPolicyNet4, func(m *ebpf.Map) error { return putAll(m, net4) }},
		{kernelMapPolicyNet6, func(m *ebpf.Map) error { return putAll(m, net6) }},
		{kernelMapPolicyDeny, func(m *ebpf.Map) error { return putAll(m, deny) }},
	}
	if g.Boundary != BoundaryNone { // each map costs the kernel a wait; without a boundary none is asked
		steps = append(steps,
			policyMap{kernelMapPolicyBounds, func(m *ebpf.Map) error { return putAll(m, files) }},
			policyMap{kernelMapPolicyBoundNames, func(m *ebpf.Map) error { return putAll(m, names) }})
	}
	k.filter.Lock()
	defer k.filter.Unlock()
	err = k.changeBounds(func() error {
		said := filterOf(files, names)
		if err := k.setFilter(said); err != nil {
			return err
		}
		for _, step := range steps {
			if err := k.setInner(step.outer, slot, step.fill); err != nil {
				return err
			}
		}
		if err := k.maps[kernelMapActive].Put(uint32(0), slot); err != nil {
			return fmt.Errorf("swapping it in: %w", err)
		}
		return k.sweepFilter(said)
	})
	if err != nil {
		return fmt.Errorf("building policy generation %d: %w", g.Number, err)
	}
	return nil
}

// policyMap is one of a generation's maps, and what fills it.
type policyMap struct {
	outer string
	fill  func(*ebpf.Map) error
}

func (k *Kernel) setInner(outer string, slot uint32, fill func(*ebpf.Map) error) error {
	spec := k.spec.Maps[outer].InnerMap.Copy()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return fmt.Errorf("%s: %w", outer, err)
	}
	defer m.Close() // the outer map keeps it
	if err := fill(m); err != nil {
		return fmt.Errorf("%s: %w", outer, err)
	}
	if err := m.Freeze(); err != nil {
		return fmt.Errorf("freezing %s: %w", outer, err)
	}
	if err := k.maps[outer].Put(slot, m); err != nil {
		return fmt.Errorf("%s: %w", outer, err)
	}
	return nil
}

func putAll[K comparable, V any](m *ebpf.Map, entries map[K]V) error {
	for key, v := range entries {
		if err := m.Put(key, v); err != nil {
			return fmt.Errorf("entry %v: %w", key, err)
		}
	}
	return nil
}

func netEntries(entries []NetEntry) (map[kernelNet4Key]kernelNetValue, map[kernelNet6Key]kernelNetValue, error) {
	net4, net6 := map[kernelNet4Key]kernelNetValue{}, map[kernelNet6Key]kernelNetValue{}
	var errs []error
	for _, e := range entries {
		v, err := netValue(e)
		errs = append(errs, err)
		p := e.Prefix.Masked()
		if p.Addr().Is4() {
			net4[kernelNet4Key{Prefixlen: uint32(p.Bits()), Addr: p.Addr().As4()}] = v
		} else {
			net6[kernelNet6Key{Prefixlen: uint32(p.Bits()), Addr: p.Addr().As16()}] = v
		}
	}
	return net4, net6, errors.Join(errs...)
}

func netValue(e NetEntry) (kernelNetValue, error) {
	var v kernelNetValue
	if len(e.Spans) > MaxNetSpans {
		return v, fmt.Errorf("network entry %s has %d port ranges, at most %d fit", e.Prefix, len(e.Spans), MaxNetSpans)
	}
	v.Count = uint32(len(e.Spans))
	for i, s := range e.Spans {
		d := kernelNetDecisionNET_DENY
		if s.Allow {
			d = kernelNetDecisionNET_ALLOW
		}
		v.Spans[i] = kernelNetSpan{First: s.First, Last: s.Last, Protocols: s.Protocols, Decision: uint8(d), Rule: int32(s.Rule)}
	}
	return v, nil
}

// Cacheable says whether the kernel looked e up, so that an answer can be
// remembered for the next one like it.
func (e *Exec) Cacheable() bool { return e.CalledHash != 0 }

// CacheProgram remembers that the program of e, called by the same name, may run
// with any arguments as long as e's policy generation is in force.
func (k *Kernel) CacheProgram(e *Exec) error {
	key := kernelExeKey{Exe: e.Exe.kernel(), Called: e.CalledHash, Generation: e.Generation}
	return k.maps[kernelMapExeCache].Put(key, uint32(1))
}

// CacheCommand remembers that the program of e may run with these arguments.
func (k *Kernel) CacheCommand(e *Exec) error {
	key := kernelArgvKey{
		Exe: e.Exe.kernel(), Called: e.CalledHash, Hash: e.ArgvHash,
		Generation: e.Generation, Len: uint32(len(e.Argv)),
	}
	return k.maps[kernelMapArgvCache].Put(key, uint32(1))
}

// Generation returns the number of the policy generation in force, 0 if there
// is none. A successor continues from it: remembered answers are keyed by it.
func (k *Kernel) Generation() (uint32, error) {
	var slot uint32
	if err := k.maps[kernelMapActive].Lookup(uint32(0), &slot); err != nil {
		return 0, fmt.Errorf("reading the active policy slot: %w", err)
	}
	var inner *ebpf.Map
	if err := k.maps[kernelMapPolicySettings].Lookup(slot, &inner); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, nil
		}
		return 0, fmt.Errorf("reading the policy in force: %w", err)
	}
	defer inner.Close()
	var s kernelSettings
	if err := inner.Lookup(uint32(0), &s); err != nil {
		return 0, fmt.Errorf("reading the policy in force: %w", err)
	}
	return s.Generation, nil
}
