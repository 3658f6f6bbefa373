// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// hosts is hosts(5). Programs read it by themselves, so an address out of it was
// never asked for here; its names are as good, since only root writes them.
type hosts struct {
	path string

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	names   map[netip.Addr][]string
	at      map[string][]netip.Addr
}

func (h *hosts) namesOf(addr netip.Addr) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.names[addr.WithZone("").Unmap()]
}

func (h *hosts) addressesOf(name string) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.at[name]
}

func (h *hosts) refresh() {
	if time.Since(h.checked) < confEvery && !h.checked.IsZero() {
		return
	}
	h.checked = time.Now()
	f, err := os.Open(h.path)
	if err != nil {
		h.names, h.at, h.changed = nil, nil, time.Time{}
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.ModTime().Equal(h.changed) {
		return
	}
	h.names, h.at, h.changed = nil, nil, info.ModTime()
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return // who can write it says what he likes
	}
	h.names, h.at = parseHosts(f)
}

// parseHosts reads hosts(5): an address, then its names; # begins a comment.
func parseHosts(r io.Reader) (map[netip.Addr][]string, map[string][]netip.Addr) {
	names, at := map[netip.Addr][]string{}, map[string][]netip.Addr{}
	scan := bufio.NewScanner(io.LimitReader(r, 16<<20))
	for scan.Scan() {
		line, _, _ := strings.Cut(scan.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		addr = addr.WithZone("").Unmap()
		for _, n := range fields[1:] {
			host, err := policy.ParseHost(n)
			if err != nil || host.Name() == "" {
				continue
			}
			names[addr] = append(names[addr], host.Name())
			at[host.Name()] = append(at[host.Name()], addr)
		}
	}
	return names, at
}
