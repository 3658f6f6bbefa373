// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"maps"
	"slices"
)

// Counters is what the store counts. All of them belong to one moment.
type Counters struct {
	// Since the store was opened.
	Received  uint64 // given to Record, with the store's own gap events
	Committed uint64 // of those, durable
	Queued    uint64 // of those, waiting for the writer
	Lost      uint64 // of those, refused or given up; an error or a gap event says so
	Redacted  uint64 // attributes in which something secret was replaced

	// Since the first event of this database.
	Stored  uint64 // ever committed
	Kept    uint64 // still there
	Removed uint64 // removed to keep the store within its bounds

	Sinks map[string]SinkCounters
}

// SinkCounters is how far a sink has come, since the first event of this
// database.
type SinkCounters struct {
	Active   bool   // it wants events; else it is not configured at present
	Exported uint64 // it accepted
	Dead     uint64 // it will not have, ever
	Dropped  uint64 // lost before it got them; a gap event says so
	Skipped  uint64 // gone while it was not configured
	Waiting  uint64 // kept for it: the exporter's lag, in events
}

// Identity is an equation between counters that holds unless something was lost
// in silence.
type Identity struct {
	Name        string
	Left, Right uint64
}

// Holds says whether nothing was lost.
func (i Identity) Holds() bool { return i.Left == i.Right }

// Identities returns the equations of the store.
func (c Counters) Identities() []Identity {
	out := []Identity{
		{"telemetry.received = committed + queued + lost", c.Received, c.Committed + c.Queued + c.Lost},
		{"telemetry.stored = kept + removed", c.Stored, c.Kept + c.Removed},
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		s := c.Sinks[name]
		out = append(out, Identity{
			"telemetry.stored = exported + dead + dropped + skipped + waiting (" + name + ")",
			c.Stored, s.Exported + s.Dead + s.Dropped + s.Skipped + s.Waiting,
		})
	}
	return out
}

// Map returns the counters by the names docs/telemetry.md explains.
func (c Counters) Map() map[string]uint64 {
	out := map[string]uint64{
		"telemetry.received": c.Received, "telemetry.committed": c.Committed, "telemetry.queued": c.Queued,
		"telemetry.lost": c.Lost, "telemetry.stored": c.Stored, "telemetry.kept": c.Kept, "telemetry.removed": c.Removed,
		"telemetry.redacted": c.Redacted,
	}
	for name, s := range c.Sinks {
		prefix := "telemetry." + name + "."
		out[prefix+"exported"] = s.Exported
		out[prefix+"dead"] = s.Dead
		out[prefix+"dropped"] = s.Dropped
		out[prefix+"skipped"] = s.Skipped
		out[prefix+"waiting"] = s.Waiting
	}
	return out
}

func (l ledger) counters() Counters {
	c := Counters{
		Stored: uint64(l.last), Kept: uint64(l.kept), Removed: uint64(l.last - l.kept),
		Sinks: make(map[string]SinkCounters, len(l.sinks)),
	}
	for name, s := range l.sinks {
		c.Sinks[name] = SinkCounters{
			Active: s.active, Exported: uint64(s.exported), Dead: uint64(s.dead), Dropped: uint64(s.dropped),
			Skipped: uint64(s.skipped), Waiting: uint64(l.last - s.cursor - s.gone),
		}
	}
	return c
}
