// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

var everyRing = []ebpf.Ring{ebpf.Holds, ebpf.Security, ebpf.Volume}

// counters collects what every hop counted, from the last to the first: what
// passes meanwhile is then seen by the earlier hop only, never the other way.
func (d *Daemon) counters() (map[string]uint64, telemetry.Counters, error) {
	all := map[string]uint64{}
	store := d.store.Counters()
	addStore(all, store)
	if d.receiver != nil {
		for name, v := range d.receiver.Counters() {
			all[name] = v
		}
	}
	for name, v := range d.enforcer.Counters() {
		all[name] = v
	}
	d.network.count(all)
	for _, ring := range everyRing {
		c, err := d.kernel.Counters(ring)
		if err != nil {
			return nil, store, err
		}
		prefix := "ring." + ring.String() + "."
		all[prefix+"seen"] = c.Seen
		all[prefix+"submitted"] = c.Submitted
		all[prefix+"full"] = c.Full
		all[prefix+"oversized"] = c.Oversized
		all[prefix+"coalesced"] = c.Coalesced
	}
	return all, store, nil
}

// balance checks that nothing got lost between the hops. The kernel's counters
// live longer than a daemon: what earlier ones read (before) belongs to them.
func balance(c map[string]uint64, store telemetry.Counters) []api.Identity {
	identity := func(name string, left, right uint64) api.Identity {
		return api.Identity{Name: name, Left: left, Right: right, Holds: left == right}
	}
	var out []api.Identity
	for _, ring := range everyRing {
		p := "ring." + ring.String() + "."
		out = append(out,
			identity(ring.String()+": seen = submitted + full", c[p+"seen"], c[p+"submitted"]+c[p+"full"]),
			identity(ring.String()+": submitted = read", c[p+"submitted"], c[p+"read"]+c[p+"before"]),
			identity(ring.String()+": read = done", c[p+"read"], c[p+"done"]),
		)
	}
	for _, i := range store.Identities() {
		out = append(out, api.Identity{Name: i.Name, Left: i.Left, Right: i.Right, Holds: i.Holds()})
	}
	return append(out, identity("events the store refused = 0", c["events.unrecorded"], 0))
}

func addStore(all map[string]uint64, c telemetry.Counters) {
	all["store.received"], all["store.committed"] = c.Received, c.Committed
	all["store.queued"], all["store.lost"] = c.Queued, c.Lost
	all["store.stored"], all["store.kept"], all["store.removed"] = c.Stored, c.Kept, c.Removed
	for name, s := range c.Sinks {
		p := "sink." + name + "."
		all[p+"exported"], all[p+"dead"], all[p+"dropped"] = s.Exported, s.Dead, s.Dropped
		all[p+"skipped"], all[p+"waiting"] = s.Skipped, s.Waiting
	}
}
