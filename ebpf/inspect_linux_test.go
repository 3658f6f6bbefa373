// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// What root outside of any session does to the kernel side is noticed, and mended.
func TestInspect(t *testing.T) {
	k := enforcing(t)
	links, maps := k.pinned("links"), k.pinned("maps")
	said := func() []string {
		var out []string
		for _, d := range k.Inspect(1) {
			text := d.What + " " + d.Target
			if !d.Mended {
				text += " not mended"
			}
			out = append(out, text)
		}
		return out
	}
	if got := said(); got != nil {
		t.Fatalf("untouched: %q", got)
	}
	for _, c := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"a link is unpinned", func() error { return os.Remove(filepath.Join(links, kernelProgOnFork)) }, []string{"unpin " + kernelProgOnFork}},
		{"all links are unpinned", func() error { return os.RemoveAll(links) }, unpinned(corePrograms)},
		{"a map is unpinned", func() error { return os.Remove(filepath.Join(maps, kernelMapProcs)) }, []string{"unpin " + kernelMapProcs}},
		{"everything is unpinned", func() error { return os.RemoveAll(k.options.PinDir) }, append(unpinned(corePrograms), unpinned(sorted(k.maps))...)},
		{"another map is pinned in its place", func() error {
			if err := os.Remove(filepath.Join(maps, kernelMapProcs)); err != nil {
				return err
			}
			m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
			if err != nil {
				return err
			}
			defer m.Close()
			return m.Pin(filepath.Join(maps, kernelMapProcs))
		}, []string{"exchange " + kernelMapProcs}},
		{"a program is detached from its cgroup", func() error {
			l, err := link.LoadPinnedLink(filepath.Join(links, kernelProgOnConnect4), nil)
			if err != nil {
				return err
			}
			defer l.Close()
			return l.(interface{ Detach() error }).Detach()
		}, []string{"detach " + kernelProgOnConnect4}},
		{"the daemon is declared dead", func() error {
			s, err := k.state()
			if err != nil {
				return err
			}
			s.Alive = 0
			return k.maps[kernelMapStates].Put(uint32(0), s)
		}, []string{"map " + kernelMapStates}},
		{"another policy is active", func() error { return k.maps[kernelMapActive].Put(uint32(0), uint32(3)) }, []string{"map " + kernelMapActive + " not mended"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, c.do())
			if got := said(); !slices.Equal(got, c.want) {
				t.Errorf("said %q, want %q", got, c.want)
			}
			if c.want[0] != "map "+kernelMapActive+" not mended" {
				if got := said(); got != nil {
					t.Errorf("afterwards: %q", got)
				}
			}
		})
	}
}

func unpinned(names []string) []string {
	out := slices.Sorted(slices.Values(names))
	for i, name := range out {
		out[i] = "unpin " + name
	}
	return out
}
